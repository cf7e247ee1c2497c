/* Codes, statuses, and the core's life. Any thread. */
#include "rpc/rpc.h"

#include <grpc/support/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/client.h"
#include "rpc/internal.h"

const char *rpc_code_name(int code) {
    static const char *const names[RPC_CODES] = {
        "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED",
    };
    return code >= 0 && code < RPC_CODES ? names[code] : names[RPC_UNKNOWN];
}

void rpc_status_deinit(struct rpc_status *status) {
    free((void *)status->message);
    free((void *)status->details);
    *status = (struct rpc_status){0};
}

/* What the core logs as errors is mostly what any client can provoke, in a format of its own: statuses and struct err
 * tell the same. What remains is why it is about to abort. */
static void log_assertions(gpr_log_func_args *args) {
    if (strstr(args->message, "assertion failed"))
        fprintf(stderr, "gRPC core: %s:%d: %s\n", args->file, args->line, args->message);
}

void core_init(void) {
    grpc_init();
    if (!getenv("GRPC_VERBOSITY"))
        gpr_set_log_function(log_assertions);
}

void core_deinit(void) {
    grpc_shutdown_blocking();
}

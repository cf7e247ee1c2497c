/* Codes, statuses, and the core's life. Any thread. */
#include "rpc/rpc.h"

#include <grpc/support/log.h>
#include <stdlib.h>

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
    free((void *)(uintptr_t)status->message);
    free((void *)(uintptr_t)status->details);
    *status = (struct rpc_status){0};
}

void core_init(void) {
    grpc_init();
    /* What the core has to say about calls and connections is told by statuses already. */
    if (!getenv("GRPC_VERBOSITY"))
        gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
}

void core_deinit(void) {
    grpc_shutdown_blocking();
}

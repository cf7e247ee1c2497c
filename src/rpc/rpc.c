/* SPDX-License-Identifier: Apache-2.0 */
/* Codes, statuses, and the core's life. Any thread. */
#include "rpc/rpc.h"

#include <dlfcn.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/client.h"
#include "rpc/core.h"

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

/* The core logs as errors mostly events that any client can cause; statuses and struct err report them, too. We print
 * failed assertions alone, since an abort follows them. */
static void log_assertions(gpr_log_func_args *args) {
    if (strstr(args->message, "assertion failed"))
        fprintf(stderr, "gRPC core: %s:%d: %s\n", args->file, args->line, args->message);
}

/* Debian builds Abseil with deadlock detection, which keeps a graph of all locks under one global lock and takes an
 * eighth of the core's CPU time. We switch it off. The function is C++, so we look it up by its mangled name, which
 * contains Abseil's version. With another version the lookup finds nothing, and detection stays as it was built. */
#define SEARCH_NAME "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE"
extern void set_deadlock_search(int mode) __asm__(SEARCH_NAME) __attribute__((weak));

static void stop_searching_for_deadlocks(void) {
    enum { ON_DEADLOCK_IGNORE = 0 };
    void (*set_mode)(int) = set_deadlock_search; /* not NULL where the core is linked statically */
    void *found = set_mode ? NULL : dlsym(RTLD_DEFAULT, SEARCH_NAME);
    if (found)
        memcpy(&set_mode, &found, sizeof set_mode);
    if (set_mode)
        set_mode(ON_DEADLOCK_IGNORE);
}

void core_init(void) {
    stop_searching_for_deadlocks();
    grpc_init();
    if (!getenv("GRPC_VERBOSITY"))
        gpr_set_log_function(log_assertions);
}

void core_deinit(void) {
    grpc_shutdown_blocking();
}

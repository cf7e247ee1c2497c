/* SPDX-License-Identifier: Apache-2.0 */
/* Codes and statuses. Any thread. */
#include "rpc/rpc.h"

#include <stdlib.h>

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

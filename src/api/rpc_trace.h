/* SPDX-License-Identifier: Apache-2.0 */
/* The spans of calls: one for each call of the coupon services that is traced, from its arrival to its end. */
#pragma once

#include "flow/tracing.h"
#include "model/reason.h"
#include "rpc/server.h"

struct rpc_trace_options {
    struct tracer *tracer; /* not NULL */
    bool (*allow)(void *arg, struct rpc_call *call, const char *service, const char *method);
    void *allow_arg;
};
/* The `allow` of rpc_server_options if tracing is on: begins the span, and asks the options' `allow`. */
bool rpc_trace_allow(void *options, struct rpc_call *call, const char *service, const char *method);
/* The trace of the call; NULL: it has none. */
struct request_trace *rpc_trace_of(const struct rpc_call *call);
/* The call is about to be failed for this reason. Before that, since the call may not live on. Any thread. */
void rpc_trace_failed(struct rpc_call *call, enum reason reason);

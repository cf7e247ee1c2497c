/* SPDX-License-Identifier: Apache-2.0 */
#include "api/rpc_trace.h"

#include <string.h>

#include "api/services.h"

/* The codes that are errors of a server, by the semantic conventions; the others are of its caller. */
static bool is_error(int code) {
    return code == RPC_UNKNOWN || code == RPC_DEADLINE_EXCEEDED || code == RPC_UNIMPLEMENTED || code == RPC_INTERNAL ||
           code == RPC_UNAVAILABLE || code == RPC_DATA_LOSS;
}

static void on_end(void *arg, int code, int64_t start_us, int64_t end_us) {
    struct request_trace *trace = arg;
    if (!trace->tracer)
        return;
    struct trace_span *span = &trace->call;
    span->start_us = start_us;
    span->end_us = end_us;
    span->code = code;
    span->reason = atomic_load(&trace->reason);
    span->is_error = is_error(code);
    tracer_push(trace->tracer, span);
}

/* The event is a child of admit's span. Beyond the limit it keeps its trace, but no step records it. */
static void make_event_parent(struct request_trace *trace) {
    struct trace_context context = {.is_sampled = trace->tracer != NULL};
    memcpy(context.trace_id, trace->call.trace_id, sizeof context.trace_id);
    memcpy(context.span_id, trace->admit_id, sizeof context.span_id);
    trace_context_write(&context, trace->event_parent);
}

static void begin(struct tracer *tracer, struct rpc_call *call, const char *service, const char *method) {
    struct trace_span span;
    size_t len = 0;
    const char *traceparent = rpc_call_metadata(call, "traceparent", &len);
    enum trace_choice choice = tracer_begin(tracer, traceparent, traceparent ? len : 0, &span);
    if (choice == TRACE_UNSAMPLED)
        return;
    struct request_trace *trace = rpc_call_alloc(call, sizeof *trace);
    trace->tracer = choice == TRACE_RECORDED ? tracer : NULL;
    trace->call = span;
    trace->call.step = TRACE_REQUEST;
    trace->call.service = service;
    trace->call.method = method;
    tracer_make_id(tracer, trace->admit_id);
    make_event_parent(trace);
    rpc_call_on_end(call, on_end, trace);
}

bool rpc_trace_allow(void *options, struct rpc_call *call, const char *service, const char *method) {
    const struct rpc_trace_options *trace = options;
    if (api_roles_of(service, method)) /* not health, reflection, and what does not exist */
        begin(trace->tracer, call, service, method);
    return trace->allow(trace->allow_arg, call, service, method);
}

struct request_trace *rpc_trace_of(const struct rpc_call *call) {
    return rpc_call_end_arg(call);
}

void rpc_trace_failed(struct rpc_call *call, enum reason reason) {
    struct request_trace *trace = rpc_trace_of(call);
    if (trace)
        atomic_store(&trace->reason, reason_info(reason)->name);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/tracing.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

static void on_attempt(void *arg, const struct err *err) {
    struct outage *outage = arg;
    int64_t us;
    if (err && outage_failed(outage))
        log_warn("trace.not_sent", LOG_ERR(err), LOG_STR("meanwhile", "spans are dropped; requests are served"));
    else if (!err && outage_over(outage, &us))
        log_info("trace.sent_again", LOG_NUM("after_s", (double)us / US_PER_S));
}

static struct tracer_options options_of(const struct config *config) {
    return (struct tracer_options){
        .endpoint = config->trace_endpoint,
        .headers = config->trace_headers,
        .ratio = config->trace_ratio,
        .max_per_s = config->trace_max_per_s,
        .on_attempt = on_attempt,
    };
}

bool tracing_check(const struct config *config, struct err *err) {
    const struct tracer_options options = options_of(config);
    return !config->trace_endpoint[0] || tracer_check(&options, err);
}

bool tracing_start(struct context *context, struct err *err) {
    struct tracer_options options = options_of(context->config);
    options.arg = &context->trace_outage;
    tracer_register();
    return !context->config->trace_endpoint[0] || tracer_new(&options, &context->tracer, err);
}

bool tracing_consume(struct tracer *tracer, const struct kafka_message *message, const struct event *event,
                     struct trace_span *ret_span) {
    struct trace_context sender;
    size_t len;
    if (!tracer_continue(tracer, event->traceparent, event->traceparent_len, ret_span))
        return false;
    const char *header = kafka_header(message, "traceparent", &len);
    if (header && trace_context_read(header, len, &sender) &&
        memcmp(sender.trace_id, ret_span->trace_id, TRACE_ID_BYTES) == 0)
        memcpy(ret_span->parent_id, sender.span_id, SPAN_ID_BYTES);
    ret_span->coupon_id = event->coupon_id;
    ret_span->ticket = event->ticket;
    snprintf(ret_span->topic, sizeof ret_span->topic, "%s", message->place.topic);
    ret_span->partition = message->place.partition;
    ret_span->offset = message->offset;
    return true;
}

/* Returns the trace if spans of the request are recorded. */
static struct request_trace *recorded(const struct request *request) {
    return request->trace && request->trace->tracer ? request->trace : NULL;
}

/* Begins a span whose parent is the call. */
static struct trace_span child(const struct request *request, enum trace_step step) {
    const struct trace_span *call = &request->trace->call;
    struct trace_span span = {
        .step = step, .end_us = clock_mono_us(), .coupon_id = request->coupon_id, .partition = -1, .offset = -1};
    memcpy(span.trace_id, call->trace_id, sizeof span.trace_id);
    memcpy(span.parent_id, call->span_id, sizeof span.parent_id);
    return span;
}

void tracing_enter_gate(const struct request *request) {
    struct request_trace *trace = recorded(request);
    if (trace)
        trace->gate_us = clock_mono_us();
}

void tracing_leave_gate(const struct request *request, const char *outcome, const char *reason) {
    struct request_trace *trace = recorded(request);
    if (!trace)
        return;
    struct trace_span span = child(request, TRACE_GATE);
    tracer_make_id(trace->tracer, span.span_id);
    span.start_us = trace->gate_us;
    span.outcome = outcome;
    span.reason = reason;
    tracer_push(trace->tracer, &span);
}

void tracing_admitted(const struct request *request, const struct tracing_admission *admission) {
    struct request_trace *trace = recorded(request);
    if (!trace)
        return;
    struct trace_span span = child(request, TRACE_ADMIT);
    memcpy(span.span_id, trace->admit_id, sizeof span.span_id);
    span.start_us = admission->start_us;
    span.batch_size = (int64_t)admission->batch_size;
    span.ticket = admission->ticket;
    span.outcome = admission->outcome;
    span.reason = admission->reason;
    if (admission->err)
        trace_span_fail(&span, admission->err->text);
    tracer_push(trace->tracer, &span);
}

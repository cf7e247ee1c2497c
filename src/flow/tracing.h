/* SPDX-License-Identifier: Apache-2.0 */
/* The trace of a request: the spans of the steps before the outbox. The spans of the later steps (relay/relay_spans.h,
 * issue/batch.c, complete.c) continue the traceparent of the event.
 *
 * A request_trace is in its call's memory. Like the request, it belongs to one step at a time, apart from `reason`. */
#pragma once

#include <stdatomic.h>

#include "flow/context.h"
#include "flow/request.h"
#include "model/event.h"
#include "trace/tracer.h"

struct request_trace {
    struct tracer *tracer;               /* NULL: the request is beyond trace.max_per_s, and no span is recorded */
    struct trace_span call;              /* the span of the call, which the others are children of */
    uint8_t admit_id[SPAN_ID_BYTES];     /* fixed before admit begins, since admit may repeat a batch */
    char event_parent[TRACEPARENT_SIZE]; /* the traceparent for the event */
    int64_t gate_us;                     /* when the gate got the request; monotonic */
    _Atomic(const char *) reason;        /* why the call is refused; NULL: it is not */
};

/* Whether the settings of tracing are valid. */
bool tracing_check(const struct config *config, struct err *err);
/* Makes context->tracer if trace.endpoint is set. */
bool tracing_start(struct context *context, struct err *err);

/* The gate gets the request, and lets it go, in this order and before anybody else may end it. */
void tracing_enter_gate(const struct request *request);
void tracing_leave_gate(const struct request *request, const char *outcome, const char *reason);

/* Begins the span of a step that consumes the message, which holds the event. Its parent is the span that sent the
 * message. Returns false if the event is not recorded, as always if `tracer` is NULL. The caller sets the step. */
bool tracing_consume(struct tracer *tracer, const struct kafka_message *message, const struct event *event,
                     struct trace_span *ret_span);

/* How admit has ended a request. */
struct tracing_admission {
    int64_t start_us;  /* of the batch */
    size_t batch_size; /* requests */
    const char *outcome, *reason;
    int64_t ticket;        /* 0: none */
    const struct err *err; /* NULL: the batch was committed */
};
/* Before the request is answered. */
void tracing_admitted(const struct request *request, const struct tracing_admission *admission);

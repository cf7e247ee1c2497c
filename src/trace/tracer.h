/* SPDX-License-Identifier: Apache-2.0 */
/* The tracer: decides which requests are traced, makes ids, and sends spans by OTLP over HTTP from a thread of its own.
 *
 *   request   comes with a traceparent or without. A sampled traceparent is recorded; one that is not sampled is not;
 *             of requests without one, a share is. No more than max_per_s are.
 *   event     of a request that is recorded carries a sampled traceparent from step to step, also between processes
 *
 * Nobody waits for the tracer: spans that find the queue full are dropped and counted. Any thread may call any
 * function. A NULL tracer is one that is off. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "trace/span.h"

struct tracer;

struct tracer_options {
    const char *endpoint; /* http://HOST:PORT/v1/traces */
    const char *headers;  /* as in trace/post.h */
    double ratio;         /* the share of requests without a traceparent */
    int64_t max_per_s;    /* requests */
    /* Runs on the tracer's thread after each attempt to send; `err` is NULL if the receiver has the spans. */
    void (*on_attempt)(void *arg, const struct err *err);
    void *arg;
};

/* Registers the tracer's metrics, so that they are there even if tracing is off. */
void tracer_register(void);
/* Whether a tracer can be made with these options. */
bool tracer_check(const struct tracer_options *options, struct err *err);
/* Copies the options' texts, and starts the thread. */
bool tracer_new(const struct tracer_options *options, struct tracer **ret_tracer, struct err *err);
/* Sends the spans that wait, once, for up to 2 s. NULL is fine. */
void tracer_free(struct tracer *tracer);

enum trace_choice {
    TRACE_UNSAMPLED,
    TRACE_RECORDED,
    TRACE_LIMITED, /* beyond max_per_s; later steps must not record it either */
};
/* Decides about a request. `len` is 0 if it has no traceparent; a traceparent that is not valid counts as none. Unless
 * the request is unsampled, *ret_span gets ids and nothing else; its start is now. */
enum trace_choice tracer_begin(struct tracer *tracer, const char *traceparent, size_t len, struct trace_span *ret_span);
/* Whether the traceparent asks for a record, and there is room for it in this second. */
bool tracer_wants(const struct tracer *tracer, const char *traceparent, size_t len);
/* Begins a span of a step that works on an event with that traceparent: it gets ids and nothing else; its start is now.
 * Returns false if the event is not recorded. */
bool tracer_continue(struct tracer *tracer, const char *traceparent, size_t len, struct trace_span *ret_span);
/* Makes the id of a span. */
void tracer_make_id(struct tracer *tracer, uint8_t ret_id[static SPAN_ID_BYTES]);
/* Writes the traceparent by which the next step continues the span. Returns `text`. */
char *trace_span_traceparent(const struct trace_span *span, char text[static TRACEPARENT_SIZE]);
/* Hands over a span that is complete. */
void tracer_push(struct tracer *tracer, const struct trace_span *span);

/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/issue/issue_spans.h"

#include "base/clock.h"
#include "flow/tracing.h"

void issue_spans_init(struct issue_spans *spans, struct tracer *tracer, struct arena *arena, size_t batch_size) {
    *spans = (struct issue_spans){.tracer = tracer, .arena = arena, .batch_size = batch_size};
    if (tracer)
        spans->start_us = clock_mono_us();
}

struct issue_span issue_spans_begin(struct issue_spans *spans, const struct kafka_message *message,
                                    const struct event *text) {
    struct trace_span span;
    if (!tracing_consume(spans->tracer, message, text, &span)) {
        bool is_fine = traceparent_is_fine(text->traceparent, text->traceparent_len);
        return (struct issue_span){.traceparent = {text->traceparent, is_fine ? text->traceparent_len : 0}};
    }
    span.step = TRACE_ISSUE;
    span.start_us = spans->start_us;
    span.batch_size = (int64_t)spans->batch_size;
    struct trace_span *kept = arena_alloc(spans->arena, sizeof *kept);
    *kept = span;
    if (!spans->list)
        spans->list = ARENA_ARRAY(spans->arena, struct trace_span *, spans->batch_size);
    spans->list[spans->n++] = kept;
    char *text_of_span = arena_alloc(spans->arena, TRACEPARENT_SIZE);
    return (struct issue_span){kept, {trace_span_traceparent(kept, text_of_span), TRACEPARENT_SIZE - 1}};
}

void issue_span_end(struct issue_span span, const char *outcome, const char *error) {
    if (!span.span)
        return;
    span.span->outcome = outcome;
    if (error)
        trace_span_fail(span.span, error);
}

void issue_spans_push(const struct issue_spans *spans) {
    int64_t now_us = spans->n ? clock_mono_us() : 0;
    for (size_t i = 0; i < spans->n; i++) {
        spans->list[i]->end_us = now_us;
        tracer_push(spans->tracer, spans->list[i]);
    }
}

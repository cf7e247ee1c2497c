/* SPDX-License-Identifier: Apache-2.0 */
/* The spans in flight are in a table by tag, in which a newer span takes the place of an older one. */
#include "flow/relay/relay_spans.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/ints.h"
#include "base/memory.h"

/* A power of two. More spans than this are seldom in flight at a time. */
#define SLOTS 1024

struct slot {
    uintptr_t tag;
    bool is_used;
    struct trace_span span;
};

struct relay_spans {
    struct tracer *tracer;
    const struct kafka_options *kafka;
    enum stream stream;
    bool has_begun; /* `span` is that of the message that is about to be sent */
    struct trace_span span;
    char traceparent[TRACEPARENT_SIZE];
    size_t n_used;
    struct slot slots[SLOTS];
};

struct relay_spans *relay_spans_new(const struct context *context, enum stream stream) {
    if (!context->tracer)
        return NULL;
    struct relay_spans *spans = memory_new(1, sizeof *spans);
    spans->tracer = context->tracer;
    spans->kafka = &context->kafka;
    spans->stream = stream;
    return spans;
}

void relay_spans_free(struct relay_spans *spans) {
    relay_spans_give_up(spans);
    free(spans);
}

void relay_spans_begin(struct relay_spans *spans, struct outbox_entry *entry, int version) {
    if (!spans)
        return;
    struct trace_span *span = &spans->span;
    spans->has_begun = tracer_continue(spans->tracer, entry->traceparent, entry->traceparent_len, span);
    if (!spans->has_begun)
        return;
    span->step = TRACE_RELAY;
    span->coupon_id = entry->coupon_id;
    span->ticket = entry->ticket;
    kafka_topic_name(spans->kafka, spans->stream, version, version ? 0 : entry->coupon_id, span->topic);
    entry->traceparent = trace_span_traceparent(span, spans->traceparent);
    entry->traceparent_len = TRACEPARENT_SIZE - 1;
}

/* Ends the slot's span. `error` is NULL if Kafka has the message. */
static void end(struct relay_spans *spans, struct slot *slot, const char *outcome, const char *error) {
    slot->is_used = false;
    spans->n_used--;
    slot->span.end_us = clock_mono_us();
    slot->span.outcome = outcome;
    if (error)
        trace_span_fail(&slot->span, error);
    tracer_push(spans->tracer, &slot->span);
}

static struct slot *slot_of(struct relay_spans *spans, uintptr_t tag) {
    return &spans->slots[hash_int64((int64_t)tag) & (SLOTS - 1)];
}

void relay_spans_sent(struct relay_spans *spans, uintptr_t tag) {
    if (!spans || !spans->has_begun)
        return;
    struct slot *slot = slot_of(spans, tag);
    if (slot->is_used)
        end(spans, slot, "sent", NULL);
    *slot = (struct slot){tag, true, spans->span};
    spans->n_used++;
    spans->has_begun = false;
}

void relay_spans_acked(struct relay_spans *spans, uintptr_t tag, const struct kafka_failure *failure) {
    if (!spans || spans->n_used == 0)
        return;
    struct slot *slot = slot_of(spans, tag);
    if (slot->is_used && slot->tag == tag)
        end(spans, slot, failure ? "failed" : "acknowledged", failure ? failure->name : NULL);
}

void relay_spans_give_up(struct relay_spans *spans) {
    for (size_t i = 0; spans && spans->n_used > 0 && i < SLOTS; i++)
        if (spans->slots[i].is_used)
            end(spans, &spans->slots[i], "given_up", "the relay goes back to its cursor, and sends the event again");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The spans of a relay: one for each message of a request that is recorded, from the read of its event to Kafka's
 * acknowledgement. The message's header traceparent names this span, so that the consumer's span becomes its child; an
 * event that is sent again gets another span. Only the relay's thread uses this. */
#pragma once

#include "flow/context.h"

struct relay_spans;

/* Returns NULL if tracing is off; all functions here accept that. `stream` and `context` are the relay's. */
struct relay_spans *relay_spans_new(const struct context *context, enum stream stream);
void relay_spans_free(struct relay_spans *spans);
/* Before the entry is handed to the producer. Sets the entry's traceparent if it is recorded; the text is valid until
 * the next call. */
void relay_spans_begin(struct relay_spans *spans, struct outbox_entry *entry, int version);
/* The producer has taken the message of the last relay_spans_begin. */
void relay_spans_sent(struct relay_spans *spans, uintptr_t tag);
/* Kafka has acknowledged the message, or not taken it (`failure`). */
void relay_spans_acked(struct relay_spans *spans, uintptr_t tag, const struct kafka_failure *failure);
/* The messages in flight are given up. */
void relay_spans_give_up(struct relay_spans *spans);

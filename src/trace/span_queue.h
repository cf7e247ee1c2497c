/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of spans that wait to be sent: any thread pushes, and one thread takes them all at once. A push copies the
 * span under a lock that nobody holds for longer than that, and never waits for room. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace/span.h"

struct span_queue;

/* `capacity` is in spans. Memory for twice as many is used as they come. */
struct span_queue *span_queue_new(size_t capacity);
void span_queue_free(struct span_queue *queue); /* NULL is fine */
/* Adds a copy. Returns false if the queue is full or closed. */
bool span_queue_push(struct span_queue *queue, const struct trace_span *span);
/* Waits for a span, then up to gather_us for more, but no longer than until the queue is half full. Takes all spans:
 * *ret_spans is valid until the next call. Returns 0 only if the queue is closed and empty. */
size_t span_queue_take(struct span_queue *queue, int64_t gather_us, const struct trace_span **ret_spans);
/* Waits for up to wait_us, or until the queue is closed. */
void span_queue_pause(struct span_queue *queue, int64_t wait_us);
/* Pushes fail from now on, and nobody waits. */
void span_queue_close(struct span_queue *queue);

/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded FIFO queue between stages: many threads push single items, and a taker takes all waiting items at once.
 *
 * The queue holds pointers and does not own the items. A push into a full queue fails at once. Any thread may call any
 * function, and there may be several takers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch_queue;

/* `capacity` is in items, at least 1. */
struct batch_queue *batch_queue_new(size_t capacity);
/* Frees the queue, but not its items. No thread may be waiting in it. NULL is fine. */
void batch_queue_free(struct batch_queue *queue);

/* Adds an item. Returns false if the queue is full or closed; the item then stays the caller's. */
bool batch_queue_push(struct batch_queue *queue, void *item);
/* Does the same, but also returns false if `limit` items are waiting. */
bool batch_queue_push_within(struct batch_queue *queue, void *item, size_t limit);

/* Moves up to `max` waiting items to `items`, oldest first, and returns how many. If none is waiting, waits up to
 * wait_us for one (negative: without a limit), or until the queue is closed. After a result of 0,
 * batch_queue_is_drained shows whether more items can arrive. */
size_t batch_queue_take(struct batch_queue *queue, void **items, size_t max, int64_t wait_us);

/* Closes the queue: pushes fail, and takers get the remaining items, then 0 without waiting. */
void batch_queue_close(struct batch_queue *queue);
/* True if the queue is closed and empty. */
bool batch_queue_is_drained(struct batch_queue *queue);

/* Returns the number of waiting items. */
size_t batch_queue_depth(struct batch_queue *queue);

/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded queue between stages: many threads push single items, a taker takes everything that is waiting.
 *
 * The queue holds pointers and owns nothing of what they point to. FIFO. All functions are for any thread; several
 * takers are fine (each takes a batch). Bounded: a push into a full queue fails at once and never blocks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch_queue;

/* `capacity` items, at least 1. NULL only when memory is exhausted. */
struct batch_queue *batch_queue_new(size_t capacity);
/* The queue must be empty of what somebody still needs, and nobody may wait in it. NULL is fine. */
void batch_queue_free(struct batch_queue *queue);

/* False when full or closed: the item stays the caller's. Wakes a taker only if one waits. */
bool batch_queue_push(struct batch_queue *queue, void *item);
/* The same, but full is when `limit` items wait (or as many as there is room for). */
bool batch_queue_push_within(struct batch_queue *queue, void *item, size_t limit);

/* Moves up to `max` waiting items, oldest first, into `items` and returns how many. Waits for the first one for up to
 * `wait_us` (negative: until there is one or the queue is closed or batch_queue_wake is called). 0 means that none
 * came; ask batch_queue_is_drained whether any ever will. */
size_t batch_queue_take(struct batch_queue *queue, void **items, size_t max, int64_t wait_us);

/* Ends one wait (the current one, or the next if nobody waits) without an item. */
void batch_queue_wake(struct batch_queue *queue);

/* From now on pushes fail; takers get what is left, then 0 at once. */
void batch_queue_close(struct batch_queue *queue);
/* Closed and empty. */
bool batch_queue_is_drained(struct batch_queue *queue);

/* Items waiting now; a snapshot. */
size_t batch_queue_depth(struct batch_queue *queue);

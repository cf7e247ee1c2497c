/* SPDX-License-Identifier: Apache-2.0 */
/* The queue between stages; see batch_queue.h. A ring under one lock.
 *
 * One lock is enough: a push only stores a pointer, and a taker takes the lock once per batch. A push signals only if
 * it makes the queue non-empty while a taker waits; a taker that leaves items behind signals the next taker. So a burst
 * costs one futex call instead of one per item. Signals are sent under the lock, since the taker of the last item may
 * free the queue at once. */
#include "base/batch_queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

/* The longest wait, about 3 years. The limit keeps sums of times from overflowing. */
#define WAIT_MAX_US ((int64_t)100000000 * US_PER_S)

struct batch_queue {
    pthread_mutex_t lock; /* guards the fields below */
    pthread_cond_t changed;
    size_t capacity, head, count; /* items are at head, head + 1, … (wrapping) */
    size_t waiters;               /* takers in pthread_cond_wait */
    bool closed;
    void **items;
};

struct batch_queue *batch_queue_new(size_t capacity) {
    if (capacity < 1)
        capacity = 1;
    struct batch_queue *queue = memory_new(1, sizeof *queue);
    queue->items = memory_new(capacity, sizeof queue->items[0]);
    queue->capacity = capacity;
    pthread_mutex_init(&queue->lock, NULL);
    thread_cond_init_monotonic(&queue->changed);
    return queue;
}

void batch_queue_free(struct batch_queue *queue) {
    if (!queue)
        return;
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue->items);
    free(queue);
}

bool batch_queue_push(struct batch_queue *queue, void *item) {
    return batch_queue_push_within(queue, item, SIZE_MAX);
}

bool batch_queue_push_within(struct batch_queue *queue, void *item, size_t limit) {
    pthread_mutex_lock(&queue->lock);
    bool fits = !queue->closed && queue->count < queue->capacity && queue->count < limit;
    if (fits) {
        size_t tail = queue->head + queue->count;
        queue->items[tail < queue->capacity ? tail : tail - queue->capacity] = item;
        queue->count++;
        if (queue->count == 1 && queue->waiters > 0)
            pthread_cond_signal(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return fits;
}

/* Waits for an item, a close, or the time-out. The caller holds the lock; the wait releases it. */
static void wait_locked(struct batch_queue *queue, int64_t wait_us) {
    int64_t deadline_us = clock_mono_us() + (wait_us < WAIT_MAX_US ? wait_us : WAIT_MAX_US);
    struct timespec deadline = clock_mono_timespec(deadline_us);
    int rc = 0;
    queue->waiters++;
    while (queue->count == 0 && !queue->closed && rc != ETIMEDOUT) {
        rc = wait_us < 0 ? pthread_cond_wait(&queue->changed, &queue->lock)
                         : pthread_cond_timedwait(&queue->changed, &queue->lock, &deadline);
    }
    queue->waiters--;
}

static size_t move_locked(struct batch_queue *queue, void **items, size_t max) {
    size_t n = queue->count < max ? queue->count : max;
    for (size_t i = 0; i < n; i++) {
        items[i] = queue->items[queue->head];
        if (++queue->head == queue->capacity)
            queue->head = 0;
    }
    queue->count -= n;
    return n;
}

size_t batch_queue_take(struct batch_queue *queue, void **items, size_t max, int64_t wait_us) {
    pthread_mutex_lock(&queue->lock);
    if (queue->count == 0 && wait_us != 0)
        wait_locked(queue, wait_us);
    size_t n = move_locked(queue, items, max);
    if (queue->count > 0 && queue->waiters > 0)
        pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return n;
}

void batch_queue_close(struct batch_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

bool batch_queue_is_drained(struct batch_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool drained = queue->closed && queue->count == 0;
    pthread_mutex_unlock(&queue->lock);
    return drained;
}

size_t batch_queue_depth(struct batch_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    size_t depth = queue->count;
    pthread_mutex_unlock(&queue->lock);
    return depth;
}

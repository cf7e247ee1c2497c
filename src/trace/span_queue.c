/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of spans; see span_queue.h. Two arrays: spans are pushed into one while the taker reads the other. */
#include "trace/span_queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

struct span_queue {
    pthread_mutex_t lock; /* guards the fields below, but not the array that was taken */
    pthread_cond_t changed;
    size_t capacity, n;
    bool is_closed;
    struct trace_span *filling, *taken;
};

struct span_queue *span_queue_new(size_t capacity) {
    struct span_queue *queue = memory_new(1, sizeof *queue);
    queue->capacity = capacity;
    queue->filling = memory_new(capacity, sizeof *queue->filling);
    queue->taken = memory_new(capacity, sizeof *queue->taken);
    pthread_mutex_init(&queue->lock, NULL);
    thread_cond_init_monotonic(&queue->changed);
    return queue;
}

void span_queue_free(struct span_queue *queue) {
    if (!queue)
        return;
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue->filling);
    free(queue->taken);
    free(queue);
}

bool span_queue_push(struct span_queue *queue, const struct trace_span *span) {
    pthread_mutex_lock(&queue->lock);
    bool fits = !queue->is_closed && queue->n < queue->capacity;
    if (fits)
        queue->filling[queue->n++] = *span;
    bool wakes = fits && (queue->n == 1 || queue->n == queue->capacity / 2);
    pthread_mutex_unlock(&queue->lock);
    if (wakes)
        pthread_cond_signal(&queue->changed);
    return fits;
}

/* Waits until there are `n` spans, the time is over, or the queue is closed. Lock held. */
static void wait_for(struct span_queue *queue, size_t n, int64_t end_us) {
    const struct timespec end = clock_mono_timespec(end_us);
    int rc = 0;
    while (queue->n < n && !queue->is_closed && rc != ETIMEDOUT)
        rc = end_us == INT64_MAX ? pthread_cond_wait(&queue->changed, &queue->lock)
                                 : pthread_cond_timedwait(&queue->changed, &queue->lock, &end);
}

size_t span_queue_take(struct span_queue *queue, int64_t gather_us, const struct trace_span **ret_spans) {
    pthread_mutex_lock(&queue->lock);
    wait_for(queue, 1, INT64_MAX);
    wait_for(queue, (queue->capacity + 1) / 2, clock_mono_us() + gather_us);
    struct trace_span *full = queue->filling;
    size_t n = queue->n;
    queue->filling = queue->taken;
    queue->taken = full;
    queue->n = 0;
    pthread_mutex_unlock(&queue->lock);
    *ret_spans = full;
    return n;
}

void span_queue_pause(struct span_queue *queue, int64_t wait_us) {
    pthread_mutex_lock(&queue->lock);
    wait_for(queue, SIZE_MAX, clock_mono_us() + wait_us);
    pthread_mutex_unlock(&queue->lock);
}

void span_queue_close(struct span_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->is_closed = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "trace/span_queue.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"

#define LONG_US (60 * (int64_t)US_PER_S) /* no test waits for so long */

static bool push(struct span_queue *queue, int64_t ticket) {
    return span_queue_push(queue, &(struct trace_span){.ticket = ticket});
}

Test(span_queue, drops_what_finds_it_full_and_keeps_the_rest_in_order) {
    struct span_queue *queue = span_queue_new(4);
    const struct trace_span *spans;
    for (int64_t i = 1; i <= 4; i++)
        cr_assert(push(queue, i));
    cr_expect_not(push(queue, 5));
    cr_assert_eq(span_queue_take(queue, LONG_US, &spans), 4, "it is half full, so nothing is waited for");
    for (int64_t i = 1; i <= 4; i++)
        cr_expect_eq(spans[i - 1].ticket, i);
    cr_expect(push(queue, 6), "there is room while the others are being sent");
    cr_expect_eq(spans[0].ticket, 1, "what was taken stays");
    cr_assert_eq(span_queue_take(queue, 0, &spans), 1);
    cr_expect_eq(spans[0].ticket, 6);
    span_queue_free(queue);
}

Test(span_queue, that_is_closed_takes_nothing_and_gives_what_is_left) {
    struct span_queue *queue = span_queue_new(100);
    const struct trace_span *spans;
    cr_assert(push(queue, 1));
    span_queue_close(queue);
    cr_expect_not(push(queue, 2));
    cr_assert_eq(span_queue_take(queue, LONG_US, &spans), 1);
    cr_expect_eq(spans[0].ticket, 1);
    cr_expect_eq(span_queue_take(queue, LONG_US, &spans), 0);
    span_queue_pause(queue, LONG_US); /* does not wait */
    span_queue_free(queue);
}

Test(span_queue, gathers_spans_for_no_longer_than_it_was_told) {
    struct span_queue *queue = span_queue_new(100);
    const struct trace_span *spans;
    int64_t start_us = clock_mono_us();
    cr_assert(push(queue, 1));
    cr_assert_eq(span_queue_take(queue, 20 * US_PER_MS, &spans), 1);
    cr_expect_geq(clock_mono_us() - start_us, 20 * US_PER_MS);
    span_queue_free(queue);
}

#define PUSHERS 3
#define PUSHES  20000

struct pusher {
    struct span_queue *queue;
    int64_t pushed;
};

static void *push_many(void *arg) {
    struct pusher *pusher = arg;
    for (int64_t i = 1; i <= PUSHES; i++)
        pusher->pushed += push(pusher->queue, i);
    return NULL;
}

static void *take_all(void *arg) {
    struct pusher *taker = arg;
    const struct trace_span *spans;
    size_t n;
    while ((n = span_queue_take(taker->queue, US_PER_MS, &spans)) > 0)
        for (size_t i = 0; i < n; i++)
            taker->pushed += spans[i].ticket > 0 && spans[i].ticket <= PUSHES;
    return NULL;
}

Test(span_queue, hands_each_span_over_once_with_many_threads) {
    struct span_queue *queue = span_queue_new(64);
    struct pusher pushers[PUSHERS], taker = {queue, 0};
    pthread_t threads[PUSHERS], taking;
    int64_t pushed = 0;
    cr_assert_eq(pthread_create(&taking, NULL, take_all, &taker), 0);
    for (int i = 0; i < PUSHERS; i++) {
        pushers[i] = (struct pusher){queue, 0};
        cr_assert_eq(pthread_create(&threads[i], NULL, push_many, &pushers[i]), 0);
    }
    for (int i = 0; i < PUSHERS; i++) {
        pthread_join(threads[i], NULL);
        pushed += pushers[i].pushed;
    }
    span_queue_close(queue);
    pthread_join(taking, NULL);
    cr_expect_gt(pushed, 0);
    cr_expect_eq(taker.pushed, pushed);
    span_queue_free(queue);
}

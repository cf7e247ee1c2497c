/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/batch_queue.h"
#include "base/clock.h"

/* Much longer than any wait of these tests; a test that waits that long has failed. */
#define DEADLINE_US ((int64_t)20 * US_PER_S)

static void *item(uintptr_t n) {
    return (void *)n;
}

Test(batch_queue, a_take_gets_everything_that_waits_oldest_first) {
    struct batch_queue *queue = batch_queue_new(8);
    for (uintptr_t i = 1; i <= 5; i++)
        cr_assert(batch_queue_push(queue, item(i)));
    cr_expect_eq(batch_queue_depth(queue), 5);
    void *items[8];
    cr_assert_eq(batch_queue_take(queue, items, 8, 0), 5);
    for (uintptr_t i = 0; i < 5; i++)
        cr_expect_eq(items[i], item(i + 1));
    cr_expect_eq(batch_queue_depth(queue), 0);
    batch_queue_free(queue);
}

Test(batch_queue, a_take_gets_no_more_than_asked_for) {
    struct batch_queue *queue = batch_queue_new(8);
    for (uintptr_t i = 1; i <= 5; i++)
        batch_queue_push(queue, item(i));
    void *items[3];
    cr_assert_eq(batch_queue_take(queue, items, 3, -1), 3);
    cr_expect_eq(items[2], item(3));
    cr_assert_eq(batch_queue_take(queue, items, 3, -1), 2);
    cr_expect_eq(items[0], item(4));
    batch_queue_free(queue);
}

Test(batch_queue, a_push_into_a_full_queue_fails_at_once) {
    struct batch_queue *queue = batch_queue_new(2);
    void *items[2];
    cr_expect(batch_queue_push(queue, item(1)));
    cr_expect(batch_queue_push(queue, item(2)));
    cr_expect_not(batch_queue_push(queue, item(3)));
    cr_expect_eq(batch_queue_take(queue, items, 1, 0), 1);
    cr_expect(batch_queue_push(queue, item(4)));
    cr_expect_eq(batch_queue_take(queue, items, 2, 0), 2);
    cr_expect_eq(items[0], item(2));
    cr_expect_eq(items[1], item(4));
    batch_queue_free(queue);
}

Test(batch_queue, order_is_kept_when_the_ring_wraps) {
    struct batch_queue *queue = batch_queue_new(5);
    uintptr_t pushed = 0, taken = 0;
    void *items[3];
    for (int round = 0; round < 100; round++) {
        while (batch_queue_push(queue, item(pushed + 1)))
            pushed++;
        size_t n = batch_queue_take(queue, items, 3, 0);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(items[i], item(++taken));
    }
    cr_expect_eq(pushed - taken, batch_queue_depth(queue));
    batch_queue_free(queue);
}

Test(batch_queue, a_take_without_a_wait_returns_at_once) {
    struct batch_queue *queue = batch_queue_new(1);
    void *items[1];
    cr_expect_eq(batch_queue_take(queue, items, 1, 0), 0);
    batch_queue_free(queue);
}

Test(batch_queue, a_take_waits_as_long_as_told) {
    struct batch_queue *queue = batch_queue_new(1);
    void *items[1];
    int64_t start_us = clock_mono_us();
    cr_expect_eq(batch_queue_take(queue, items, 1, 20 * US_PER_MS), 0);
    cr_expect_geq(clock_mono_us() - start_us, 20 * US_PER_MS);
    cr_expect_not(batch_queue_is_drained(queue));
    batch_queue_free(queue);
}

Test(batch_queue, the_longest_possible_wait_does_not_overflow) {
    struct batch_queue *queue = batch_queue_new(1);
    void *items[1];
    batch_queue_close(queue);
    cr_expect_eq(batch_queue_take(queue, items, 1, INT64_MAX), 0);
    batch_queue_free(queue);
}

Test(batch_queue, a_closed_queue_refuses_pushes_and_gives_what_is_left) {
    struct batch_queue *queue = batch_queue_new(4);
    void *items[4];
    batch_queue_push(queue, item(1));
    batch_queue_close(queue);
    cr_expect_not(batch_queue_push(queue, item(2)));
    cr_expect_not(batch_queue_is_drained(queue));
    cr_expect_eq(batch_queue_take(queue, items, 4, -1), 1);
    cr_expect(batch_queue_is_drained(queue));
    cr_expect_eq(batch_queue_take(queue, items, 4, -1), 0);
    batch_queue_free(queue);
}

Test(batch_queue, freeing_null_is_fine_and_a_capacity_of_none_holds_one) {
    batch_queue_free(NULL);
    struct batch_queue *queue = batch_queue_new(0);
    cr_expect(batch_queue_push(queue, item(1)));
    cr_expect_not(batch_queue_push(queue, item(2)));
    batch_queue_free(queue);
}

struct taker {
    pthread_t thread;
    struct batch_queue *queue;
    size_t taken;
};

/* Takes once, and waits without a limit. */
static void *take_once(void *arg) {
    struct taker *taker = arg;
    void *items[16];
    taker->taken = batch_queue_take(taker->queue, items, 16, -1);
    return NULL;
}

static void start_takers(struct taker *takers, int n, struct batch_queue *queue) {
    for (int i = 0; i < n; i++) {
        takers[i].queue = queue;
        pthread_create(&takers[i].thread, NULL, take_once, &takers[i]);
    }
}

Test(batch_queue, a_push_ends_a_wait) {
    struct batch_queue *queue = batch_queue_new(1);
    struct taker taker;
    start_takers(&taker, 1, queue);
    batch_queue_push(queue, item(1));
    pthread_join(taker.thread, NULL);
    cr_expect_eq(taker.taken, 1);
    batch_queue_free(queue);
}

Test(batch_queue, a_close_ends_all_waits) {
    struct batch_queue *queue = batch_queue_new(1);
    struct taker takers[4];
    start_takers(takers, 4, queue);
    batch_queue_close(queue);
    for (int i = 0; i < 4; i++) {
        pthread_join(takers[i].thread, NULL);
        cr_expect_eq(takers[i].taken, 0);
    }
    batch_queue_free(queue);
}

enum { PRODUCERS = 4, PER_PRODUCER = 20000 };

struct producer {
    pthread_t thread;
    struct batch_queue *queue;
    uintptr_t number;
};

/* An item is producer * PER_PRODUCER + sequence + 1. */
static void *produce(void *arg) {
    struct producer *producer = arg;
    for (uintptr_t i = 0; i < PER_PRODUCER; i++) {
        while (!batch_queue_push(producer->queue, item(producer->number * PER_PRODUCER + i + 1)))
            sched_yield();
    }
    return NULL;
}

static void start_producers(struct producer *producers, struct batch_queue *queue) {
    for (uintptr_t i = 0; i < PRODUCERS; i++) {
        producers[i].queue = queue;
        producers[i].number = i;
        pthread_create(&producers[i].thread, NULL, produce, &producers[i]);
    }
}

Test(batch_queue, nothing_is_lost_and_each_producers_order_is_kept) {
    struct batch_queue *queue = batch_queue_new(100);
    struct producer producers[PRODUCERS];
    start_producers(producers, queue);
    uintptr_t next[PRODUCERS] = {0};
    void *items[64];
    for (size_t taken = 0; taken < (size_t)PRODUCERS * PER_PRODUCER;) {
        size_t n = batch_queue_take(queue, items, 64, DEADLINE_US);
        cr_assert_gt(n, 0, "nothing came after %zu items", taken);
        for (size_t i = 0; i < n; i++) {
            uintptr_t value = (uintptr_t)items[i] - 1;
            cr_assert_eq(value % PER_PRODUCER, next[value / PER_PRODUCER]++);
        }
        taken += n;
    }
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i].thread, NULL);
    cr_expect_eq(batch_queue_depth(queue), 0);
    batch_queue_free(queue);
}

struct consumer {
    pthread_t thread;
    struct batch_queue *queue;
    atomic_uchar *seen;
};

static void *consume(void *arg) {
    struct consumer *consumer = arg;
    void *items[16];
    while (!batch_queue_is_drained(consumer->queue)) {
        size_t n = batch_queue_take(consumer->queue, items, 16, -1);
        for (size_t i = 0; i < n; i++)
            atomic_fetch_add(&consumer->seen[(uintptr_t)items[i] - 1], 1);
    }
    return NULL;
}

Test(batch_queue, several_takers_share_the_items_without_repeating_one) {
    static atomic_uchar seen[PRODUCERS * PER_PRODUCER];
    struct batch_queue *queue = batch_queue_new(50);
    struct consumer consumers[3];
    for (int i = 0; i < 3; i++) {
        consumers[i].queue = queue;
        consumers[i].seen = seen;
        pthread_create(&consumers[i].thread, NULL, consume, &consumers[i]);
    }
    struct producer producers[PRODUCERS];
    start_producers(producers, queue);
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i].thread, NULL);
    batch_queue_close(queue);
    for (int i = 0; i < 3; i++)
        pthread_join(consumers[i].thread, NULL);
    for (size_t i = 0; i < PRODUCERS * PER_PRODUCER; i++)
        cr_assert_eq(atomic_load(&seen[i]), 1, "item %zu was seen %d times", i, atomic_load(&seen[i]));
    batch_queue_free(queue);
}

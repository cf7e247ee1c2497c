/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/campaigns.h"

#include <criterion/criterion.h>
#include <pthread.h>

static struct campaign_counts counts[CAMPAIGNS_MAX];

TestSuite(campaigns, .init = campaigns_start);

static const struct campaign_counts *counts_of(int64_t coupon_id) {
    size_t n = campaigns_read(counts);
    for (size_t i = 0; i < n; i++)
        if (counts[i].coupon_id == coupon_id)
            return &counts[i];
    return NULL;
}

Test(campaigns_off, nothing_is_counted_before_the_start) {
    campaigns_count(7, REASON_NONE);
    cr_expect_eq(campaigns_read(counts), 0);
}

Test(campaigns, a_quarter_of_the_room_is_enough_for_as_many_coupons) {
    for (int64_t id = 1000; id < 1000 + CAMPAIGNS_MAX / 4; id++)
        campaigns_count(id * 7919, REASON_NONE);
    cr_expect_eq(campaigns_read(counts), CAMPAIGNS_MAX / 4);
}

Test(campaigns, answers_are_counted_by_coupon_and_reason) {
    campaigns_count(7, REASON_NONE);
    campaigns_count(7, REASON_SOLD_OUT);
    campaigns_count(7, REASON_SOLD_OUT);
    campaigns_count(INT64_MAX, REASON_NONE);
    cr_expect_eq(counts_of(7)->answers[REASON_NONE], 1);
    cr_expect_eq(counts_of(7)->answers[REASON_SOLD_OUT], 2);
    cr_expect_eq(counts_of(INT64_MAX)->answers[REASON_SOLD_OUT], 0);
    cr_expect_eq(campaigns_read(counts), 2);
}

Test(campaigns, calls_that_do_not_prove_a_coupon_make_no_room_for_it) {
    for (int64_t id = 1; id < 5000; id++) {
        campaigns_count(id, REASON_COUPON_NOT_FOUND);
        campaigns_count(id, REASON_OVERLOADED);
    }
    cr_expect_eq(campaigns_read(counts), 0);
    campaigns_count(8, REASON_NONE);
    campaigns_count(8, REASON_OVERLOADED);
    cr_expect_eq(counts_of(8)->answers[REASON_OVERLOADED], 1);
}

Test(campaigns, more_coupons_than_there_is_room_for_leave_the_first_ones_in_peace) {
    for (int64_t id = 1; id <= 4 * CAMPAIGNS_MAX; id++)
        campaigns_count(id, REASON_NONE);
    size_t n = campaigns_read(counts);
    cr_expect_leq(n, (size_t)CAMPAIGNS_MAX);
    cr_expect_gt(n, CAMPAIGNS_MAX / 2);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(counts[i].answers[REASON_NONE], 1);
    cr_expect_not_null(counts_of(1));
}

#define THREADS    4
#define PER_THREAD 100000

static void *count_much(void *arg) {
    for (int i = 0; i < PER_THREAD; i++)
        campaigns_count(*(const int64_t *)arg + i % 2, REASON_SOLD_OUT);
    return NULL;
}

Test(campaigns, threads_lose_no_count) {
    pthread_t threads[THREADS];
    const int64_t first = 40;
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, count_much, (void *)&first), 0);
    for (int i = 0; i < 100; i++)
        campaigns_read(counts);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(counts_of(40)->answers[REASON_SOLD_OUT], THREADS * PER_THREAD / 2);
    cr_expect_eq(counts_of(41)->answers[REASON_SOLD_OUT], THREADS * PER_THREAD / 2);
}

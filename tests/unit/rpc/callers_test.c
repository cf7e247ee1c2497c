/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of each caller: rate, calls in flight, and a table that fills up. */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "rpc/callers.h"

#define START_US 1000000

Test(callers, without_limits_there_is_no_table) {
    cr_assert_null(callers_new(&(struct rpc_caller_limits){0}));
}

Test(callers, a_bucket_holds_the_calls_of_one_second_and_refills) {
    struct callers *callers = callers_new(&(struct rpc_caller_limits){.per_second = 10});
    for (int i = 0; i < 10; i++)
        cr_assert_not_null(callers_enter(callers, 7, START_US));
    cr_assert_null(callers_enter(callers, 7, START_US));
    cr_assert_null(callers_enter(callers, 7, START_US + US_PER_S / 10 - 1));
    cr_assert_not_null(callers_enter(callers, 7, START_US + US_PER_S / 10 + 1));
    cr_assert_null(callers_enter(callers, 7, START_US + US_PER_S / 10 + 2));

    int64_t later_us = START_US + 100 * US_PER_S;
    for (int i = 0; i < 10; i++)
        cr_assert_not_null(callers_enter(callers, 7, later_us));
    cr_assert_null(callers_enter(callers, 7, later_us), "idle time fills the bucket once, not more");
    callers_free(callers);
}

Test(callers, less_than_one_call_a_second_still_lets_one_in) {
    struct callers *callers = callers_new(&(struct rpc_caller_limits){.per_second = 0.5});
    cr_assert_not_null(callers_enter(callers, 7, START_US));
    cr_assert_null(callers_enter(callers, 7, START_US + US_PER_S));
    cr_assert_not_null(callers_enter(callers, 7, START_US + 2 * US_PER_S + 1));
    callers_free(callers);
}

Test(callers, a_call_in_flight_counts_until_it_leaves) {
    struct callers *callers = callers_new(&(struct rpc_caller_limits){.in_flight = 2});
    struct caller *first = callers_enter(callers, 7, START_US);
    cr_assert_not_null(first);
    cr_assert_not_null(callers_enter(callers, 7, START_US));
    cr_assert_null(callers_enter(callers, 7, START_US));
    cr_assert_not_null(callers_enter(callers, 8, START_US), "another caller has limits of its own");
    callers_leave(callers, first);
    cr_assert_not_null(callers_enter(callers, 7, START_US));
    callers_free(callers);
}

/* Keys with the same low bits share a set of eight slots. */
static uint64_t key_of_one_set(uint64_t n) {
    return n << 32 | 5;
}

Test(callers, an_idle_caller_makes_room_and_a_busy_one_does_not) {
    struct callers *callers = callers_new(&(struct rpc_caller_limits){.in_flight = 1});
    struct caller *busy[8];
    for (uint64_t i = 0; i < 8; i++)
        cr_assert_not_null(busy[i] = callers_enter(callers, key_of_one_set(i + 1), START_US));
    cr_assert_null(callers_enter(callers, key_of_one_set(9), START_US), "shares the last slot, which is busy");
    callers_leave(callers, busy[2]);
    struct caller *ninth = callers_enter(callers, key_of_one_set(9), START_US);
    cr_assert_eq(ninth, busy[2]);
    cr_assert_null(callers_enter(callers, key_of_one_set(1), START_US), "the others are still remembered");
    callers_free(callers);
}

Test(callers, a_caller_that_has_used_its_rate_is_remembered_until_its_bucket_is_full) {
    struct callers *callers = callers_new(&(struct rpc_caller_limits){.per_second = 1});
    for (uint64_t i = 0; i < 8; i++)
        callers_leave(callers, callers_enter(callers, key_of_one_set(i + 1), START_US));
    cr_assert_null(callers_enter(callers, key_of_one_set(9), START_US), "shares the last slot, whose bucket is empty");
    for (uint64_t i = 0; i < 8; i++)
        cr_assert_null(callers_enter(callers, key_of_one_set(i + 1), START_US));
    cr_assert_not_null(callers_enter(callers, key_of_one_set(9), START_US + US_PER_S + 1));
    callers_free(callers);
}

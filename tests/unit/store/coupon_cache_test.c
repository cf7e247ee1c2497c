/* SPDX-License-Identifier: Apache-2.0 */
#include "store/coupon_cache.h"

#include <criterion/criterion.h>

#include "base/murmur2.h"
#include "wire_fixture.h"

#define LANES 8
/* A part of the statement that reads coupons. */
#define READ "from unnest($1::bigint[]) with ordinality i(coupon_id, n)"

static struct coupon_cache *cache;

static void set_up(void) {
    wire_set_up();
    cache = coupon_cache_new(LANES);
}

static void tear_down(void) {
    coupon_cache_free(cache);
    wire_tear_down();
}

TestSuite(coupon_cache, .init = set_up, .fini = tear_down);

/* One coupon, and its lane's head. */
struct one {
    struct coupon row;
    int32_t lane;
    int64_t last_id, epoch;
    struct outbox_heads heads;
    struct locked_coupons locked;
};

static struct one *one_of(int64_t id, int64_t last_id, int64_t epoch) {
    struct one *one = arena_zalloc(&arena, sizeof *one);
    *one = (struct one){.row = {.id = id}, .lane = murmur2_slot_of_id(id, LANES), .last_id = last_id, .epoch = epoch};
    one->heads = (struct outbox_heads){1, &one->lane, &one->last_id, &one->epoch};
    one->locked = (struct locked_coupons){&one->heads, &one->row, 1};
    return one;
}

/* Sets Postgres's answer: the first requested coupon exists and has accepted this number of requests. */
static void say_accepted(int64_t accepted) {
    struct pg_args *row = new_rows(1);
    pg_arg_int8(row, &arena, 1); /* the index of the first requested coupon */
    add_coupon_columns(row, &(struct coupon){.status = COUPON_PUBLISHABLE,
                                             .open_us = TIME_OPEN_START,
                                             .expire_us = TIME_OPEN_END,
                                             .version = 3,
                                             .quantity = 100,
                                             .accepted = accepted});
    wire_answer(wire, READ, row, 1);
}

/* Reads as a step does. Returns the number of statements that were sent with the lock. */
static int read_one(struct one *one) {
    PGresult *result = NULL;
    struct err err = {0};
    int sent = coupon_cache_send_read(cache, pg, &arena, &one->row, 1);
    if (sent)
        cr_assert(pg_collect(pg, &result, 1, &err), "%s", err.text);
    cr_assert(coupon_cache_read(cache, pg, &arena, result, &one->locked, &err), "%s", err.text);
    PQclear(result);
    return sent;
}

static void remember(int64_t id, int64_t last_id, int64_t epoch) {
    struct one *one = one_of(id, last_id, epoch);
    cr_assert_eq(read_one(one), 1);
    coupon_cache_keep(cache, &one->locked);
}

Test(coupon_cache, a_coupon_is_read_once_while_nobody_else_touches_its_lane) {
    say_accepted(5);
    remember(7, 20, 1);
    struct one *again = one_of(7, 20, 1);
    cr_assert_eq(read_one(again), 0);
    cr_assert_eq(again->row.accepted, 5);
    cr_assert_eq(again->row.version, 3);
    cr_assert(again->row.exists);
    cr_assert_eq(wire_count(wire, READ), 1);
}

Test(coupon_cache, a_lane_whose_last_id_or_epoch_moved_is_read_again) {
    say_accepted(5);
    remember(7, 20, 1);
    say_accepted(6);
    struct one *appended = one_of(7, 21, 1), *changed = one_of(7, 21, 2);
    cr_assert_eq(read_one(appended), 0, "it is remembered, until the head shows that it is stale");
    cr_assert_eq(appended->row.accepted, 6);
    cr_assert_eq(wire_count(wire, READ), 2);
    coupon_cache_keep(cache, &appended->locked);
    say_accepted(9);
    read_one(changed);
    cr_assert_eq(changed->row.accepted, 9);
    cr_assert_eq(wire_count(wire, READ), 3);
}

Test(coupon_cache, the_worker_itself_may_move_the_head_and_the_counters) {
    say_accepted(5);
    struct one *one = one_of(7, 20, 1), *next = one_of(7, 22, 1);
    read_one(one);
    one->row.accepted += 2;
    one->last_id += 2;
    coupon_cache_keep(cache, &one->locked);
    cr_assert_eq(read_one(next), 0);
    cr_assert_eq(next->row.accepted, 7);
    cr_assert_eq(wire_count(wire, READ), 1);
}

Test(coupon_cache, a_coupon_that_does_not_exist_is_not_remembered) {
    remember(7, 20, 1); /* Postgres returns no rows */
    struct one *again = one_of(7, 20, 1);
    cr_assert_eq(read_one(again), 1);
    cr_assert_not(again->row.exists);
    cr_assert_eq(again->row.id, 7);
}

Test(coupon_cache, nothing_is_remembered_after_a_failure) {
    say_accepted(5);
    remember(7, 20, 1);
    coupon_cache_forget(cache);
    cr_assert_eq(read_one(one_of(7, 20, 1)), 1);
}

Test(coupon_cache, a_roll_back_keeps_what_was_read_and_a_failed_one_forgets_it) {
    say_accepted(5);
    struct one *one = one_of(7, 20, 1);
    read_one(one);
    cr_assert(coupon_cache_roll_back(cache, pg, &one->locked));
    cr_assert_eq(wire_count(wire, "rollback"), 1);
    cr_assert_eq(read_one(one_of(7, 20, 1)), 0);
    struct err err;
    pg_disconnect(pg);
    cr_assert_not(coupon_cache_roll_back(cache, pg, &one->locked));
    cr_assert(pg_connect(pg, &err), "%s", err.text);
    cr_assert_eq(read_one(one_of(7, 20, 1)), 1);
}

Test(coupon_cache, a_stale_lane_that_cannot_be_read_again_is_a_failure) {
    say_accepted(5);
    remember(7, 20, 1);
    struct one *one = one_of(7, 21, 1);
    struct err err = {0};
    cr_assert_eq(coupon_cache_send_read(cache, pg, &arena, &one->row, 1), 0);
    pg_disconnect(pg);
    cr_assert_not(coupon_cache_read(cache, pg, &arena, NULL, &one->locked, &err));
    cr_assert(err.retriable);
}

Test(coupon_cache, without_a_cache_every_coupon_is_read) {
    struct coupon row = {.id = 7};
    struct one *one = one_of(7, 20, 1);
    PGresult *result;
    struct err err = {0};
    say_accepted(5);
    cr_assert_eq(coupon_cache_send_read(NULL, pg, &arena, &row, 1), 1);
    cr_assert(pg_collect(pg, &result, 1, &err), "%s", err.text);
    cr_assert(coupon_cache_read(NULL, pg, &arena, result, &one->locked, &err));
    cr_assert_eq(one->row.accepted, 5);
    PQclear(result);
    coupon_cache_keep(NULL, &one->locked);
    coupon_cache_forget(NULL);
    coupon_cache_free(NULL);
}

/* The 65,536th entry empties the table first. */
Test(coupon_cache, many_coupons_are_remembered_and_the_memory_is_bounded) {
    enum { COUPONS = 70000, ASKED = 30000 };
    int32_t lane[LANES];
    int64_t last_id[LANES] = {0}, epoch[LANES] = {0};
    struct outbox_heads heads = {LANES, lane, last_id, epoch};
    for (int i = 0; i < LANES; i++)
        lane[i] = i;
    for (int64_t id = 1; id <= COUPONS; id++) {
        struct coupon row = {.id = id, .exists = true, .accepted = id};
        coupon_cache_keep(cache, &(struct locked_coupons){&heads, &row, 1});
        if (id == ASKED)
            for (int64_t old = 1; old <= ASKED; old++) {
                struct coupon known = {.id = old};
                cr_assert_eq(coupon_cache_send_read(cache, pg, &arena, &known, 1), 0, "%ld", (long)old);
                cr_assert_eq(known.accepted, old);
            }
    }
    struct coupon oldest = {.id = 1}, newest = {.id = COUPONS};
    cr_assert_eq(coupon_cache_send_read(cache, pg, &arena, &newest, 1), 0);
    cr_assert_eq(coupon_cache_send_read(cache, pg, &arena, &oldest, 1), 1, "the table was emptied in between");
    pg_disconnect(pg);
}

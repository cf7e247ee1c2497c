/* SPDX-License-Identifier: Apache-2.0 */
#include "store/admission.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "base/murmur2.h"
#include "wire_fixture.h"

#define LANES    31
#define LOCK     "select pg_advisory_xact_lock(k)"
#define HEADS    "from outbox_segment"
#define COUPONS  "from unnest($1::bigint[]) with ordinality i(coupon_id, n)"
#define LEDGER   "with ordinality i(coupon_id, user_id, n)"
#define INSERT   "insert into publish_request"
#define APPEND   "insert into outbox_requested_1"
#define MOVE     "update outbox_head h set last_id"
#define COUNT    "update admission a set accepted"
#define NOW      INT64_C(1700000000000001)
#define ASKS     4

#define RECALLED "with head as"

static struct coupon_cache *cache;
static struct admission_memory memory;

static void set_up(void) {
    wire_set_up();
    cache = coupon_cache_new(LANES);
    memory = (struct admission_memory){0};
}

static void tear_down(void) {
    coupon_cache_free(cache);
    wire_tear_down();
}

TestSuite(admission, .init = set_up, .fini = tear_down);

/* Four requests for the coupons 7 and 9, of which 9 does not exist. */
static const int64_t coupon_ids[ASKS] = {7, 9, 7, 7}, user_ids[ASKS] = {70, 0, INT64_MAX, 73};

static struct admission_batch *new_batch(void) {
    struct admission_batch *batch = arena_zalloc(&arena, sizeof *batch);
    *batch = (struct admission_batch){.cache = cache,
                                      .memory = &memory,
                                      .n_coupons = 2,
                                      .coupons = arena_zalloc(&arena, 2 * sizeof(struct coupon)),
                                      .n_asks = ASKS,
                                      .coupon_id = coupon_ids,
                                      .user_id = user_ids,
                                      .in_ledger = arena_alloc(&arena, ASKS)};
    batch->coupons[0].id = 7;
    batch->coupons[1].id = 9;
    memset(batch->in_ledger, 1, ASKS);
    return batch;
}

static const struct coupon seven = {.id = 7,
                                    .exists = true,
                                    .status = COUPON_PUBLISHABLE,
                                    .quantity = 100,
                                    .accepted = 40,
                                    .open_us = TIME_OPEN_START,
                                    .expire_us = TIME_OPEN_END,
                                    .version = 3};

/* Answers as Postgres would. The heads come in the reverse order of the lanes. */
static void answer_read(void) {
    struct pg_args *heads = new_rows(2), *coupon = new_rows(1);
    cr_assert_neq(murmur2_slot_of_id(7, LANES), murmur2_slot_of_id(9, LANES), "the test needs two lanes");
    for (int i = 0; i < 2; i++) {
        pg_arg_int8(&heads[i], &arena, 2 - i);
        pg_arg_int8(&heads[i], &arena, 20 - i);
        pg_arg_int2(&heads[i], &arena, 1);
        pg_arg_time(&heads[i], &arena, NOW);
        pg_arg_int8(&heads[i], &arena, 6 - i);
    }
    pg_arg_int8(coupon, &arena, 1);
    add_coupon_columns(coupon, &seven);
    wire_answer(wire, HEADS, heads, 2);
    wire_answer(wire, COUPONS, coupon, 1);
}

/* The ledger has the requests with these numbers (1: the first one of the question). */
static void answer_ledger(int64_t first, int64_t second) {
    struct pg_args *rows = new_rows(2);
    pg_arg_int8(&rows[0], &arena, first);
    pg_arg_int8(&rows[1], &arena, second);
    wire_answer(wire, LEDGER, rows, 2);
}

static struct admission_batch *read_batch(bool with_ledger) {
    struct admission_batch *batch = new_batch();
    struct err err = {0};
    cr_assert(admission_read(pg, &arena, LANES, batch, with_ledger, &err), "%s", err.text);
    return batch;
}

static void expect_in_ledger(const struct admission_batch *batch, const bool *expected) {
    for (int i = 0; i < ASKS; i++)
        cr_expect_eq(batch->in_ledger[i], expected[i], "request %d", i);
}

/* --- read --- */

Test(admission, a_batch_locks_its_lanes_and_reads_their_heads_the_clock_and_the_coupons) {
    struct pg_args lock = {0}, lanes = {0}, coupons = {0};
    answer_read();
    struct admission_batch *batch = read_batch(false);
    int64_t keys[2];
    cr_assert_eq(batch->heads.n, 2);
    for (int i = 0; i < 2; i++)
        keys[i] = pg_lock_key(pg, PG_LOCK_ADMIT, batch->heads.lane[i]);
    pg_arg_int8s(&lock, &arena, keys, 2);
    expect_args(LOCK, &lock);
    pg_arg_int2(&lanes, &arena, STREAM_REQUESTED);
    pg_arg_int4s(&lanes, &arena, batch->heads.lane, 2);
    expect_args(HEADS, &lanes);
    pg_arg_int8s(&coupons, &arena, (int64_t[]){7, 9}, 2);
    expect_args(COUPONS, &coupons);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(batch->heads.last_id[i], 19 + i);
        cr_expect_eq(batch->heads.epoch[i], 5 + i);
    }
    cr_expect_eq(batch->segment, 1);
    cr_expect_eq(batch->now_us, NOW);
    expect_coupon(&batch->coupons[0], &seven);
    expect_coupon(&batch->coupons[1], &(struct coupon){.id = 9});
    expect_in_ledger(batch, (bool[ASKS]){false});
    cr_expect_eq(wire_count(wire, LEDGER), 0);
    cr_expect(wire_in_transaction(wire));
    admission_abandon(pg, batch);
}

Test(admission, the_ledger_tells_which_requests_it_has_whether_or_not_the_coupons_are_cached) {
    struct pg_args expected = {0};
    answer_read();
    answer_ledger(4, 1);
    pg_arg_int8s(&expected, &arena, coupon_ids, ASKS);
    pg_arg_int8s(&expected, &arena, user_ids, ASKS);
    for (int i = 0; i < 2; i++) {
        struct admission_batch *batch = read_batch(true);
        batch->coupons[1].exists = true; /* so that it is cached, too */
        expect_args(LEDGER, &expected);
        expect_in_ledger(batch, (bool[ASKS]){true, false, false, true});
        admission_abandon(pg, batch);
    }
    cr_expect_eq(wire_count(wire, COUPONS), 1);
    cr_expect_eq(wire_count(wire, LEDGER), 2);
}

Test(admission, without_a_cache_every_batch_reads_its_coupons) {
    answer_read();
    for (int i = 0; i < 2; i++) {
        struct admission_batch *batch = new_batch();
        struct err err = {0};
        batch->cache = NULL;
        cr_assert(admission_read(pg, &arena, LANES, batch, false, &err), "%s", err.text);
        expect_coupon(&batch->coupons[0], &seven);
        admission_abandon(pg, batch);
    }
    cr_expect_eq(wire_count(wire, COUPONS), 2);
}

static bool read_again(struct err *err) {
    struct admission_batch *batch = new_batch();
    bool ok = admission_read(pg, &arena, LANES, batch, true, err);
    if (ok)
        admission_abandon(pg, batch);
    return ok;
}

Test(admission, a_read_that_fails_at_any_step_is_rolled_back_and_the_next_one_asks_for_all_coupons) {
    answer_read();
    answer_ledger(1, 2);
    expect_failures((const char *const[]){"begin", LOCK, HEADS, COUPONS, LEDGER, NULL}, read_again);
}

/* --- look up --- */

Test(admission, a_look_up_asks_for_some_requests_and_marks_those_beside_the_ones_known) {
    struct pg_args expected = {0};
    struct err err = {0};
    answer_read();
    struct admission_batch *batch = read_batch(false);
    batch->in_ledger[1] = true;
    answer_ledger(3, 1);
    cr_assert(admission_look_up(pg, &arena, batch, (size_t[]){3, 0, 2}, 3, &err), "%s", err.text);
    pg_arg_int8s(&expected, &arena, (int64_t[]){7, 7, 7}, 3);
    pg_arg_int8s(&expected, &arena, (int64_t[]){73, 70, INT64_MAX}, 3);
    expect_args(LEDGER, &expected);
    expect_in_ledger(batch, (bool[ASKS]){false, true, true, true});
    cr_expect(wire_in_transaction(wire));
    admission_abandon(pg, batch);
}

static bool look_up_again(struct err *err) {
    struct admission_batch *batch = read_batch(false);
    bool ok = admission_look_up(pg, &arena, batch, (size_t[]){0}, 1, err);
    cr_expect_eq(batch->in_ledger[0], ok);
    if (ok)
        admission_abandon(pg, batch);
    return ok;
}

Test(admission, a_failed_look_up_is_rolled_back_and_empties_the_cache) {
    answer_read();
    answer_ledger(1, 1);
    expect_failures((const char *const[]){LEDGER, NULL}, look_up_again);
    cr_expect_eq(wire_count(wire, COUPONS), 3, "each of the three batches begins with an empty cache");
}

/* --- write --- */

static const char *request_ids[] = {"r-1", ""};
static const struct admission_rows rows = {2, (int64_t[]){7, 7}, (int64_t[]){70, INT64_MAX}, (int64_t[]){41, 42},
                                           request_ids};

static bool write_batch(struct admission_batch *batch, struct err *err) {
    struct outbox_batch outbox;
    outbox_batch_init(&outbox, &arena, &batch->heads);
    for (int i = 0; i < 2; i++)
        outbox_put(&outbox, murmur2_slot_of_id(7, LANES),
                   &(struct outbox_event){.coupon_id = 7, .ticket = 41 + i, .payload = {"p", 1}});
    batch->coupons[0].accepted += 2;
    return admission_write(pg, &arena, batch, &rows, &outbox, err);
}

Test(admission, a_batch_writes_ledger_outbox_and_the_counters_of_coupons_that_exist_and_commits_last) {
    struct pg_args insert = {0}, count = {0}, move = {0};
    struct err err = {0};
    answer_read();
    struct admission_batch *batch = read_batch(false);
    cr_assert(write_batch(batch, &err), "%s", err.text);
    pg_arg_int8s(&insert, &arena, (int64_t[]){7, 7}, 2);
    pg_arg_int8s(&insert, &arena, (int64_t[]){70, INT64_MAX}, 2);
    pg_arg_int8s(&insert, &arena, (int64_t[]){41, 42}, 2);
    pg_arg_texts(&insert, &arena, request_ids, 2);
    pg_arg_time(&insert, &arena, NOW);
    expect_args(INSERT, &insert);
    pg_arg_int8s(&count, &arena, (int64_t[]){7}, 1);
    pg_arg_int8s(&count, &arena, (int64_t[]){42}, 1);
    expect_args(COUNT, &count);
    pg_arg_int2(&move, &arena, STREAM_REQUESTED);
    pg_arg_int4s(&move, &arena, batch->heads.lane, 2);
    pg_arg_int8s(&move, &arena, batch->heads.last_id, 2);
    expect_args(MOVE, &move);
    cr_expect_eq(wire_count(wire, APPEND), 1);
    cr_expect_str_eq(wire_last(wire, "")->sql, "commit");
    cr_expect_not(wire_in_transaction(wire));
}

/* Sets the head that the batch has left. */
static void answer_heads_of(const struct admission_batch *batch) {
    struct pg_args *heads = new_rows(2);
    for (size_t i = 0; i < 2; i++) {
        pg_arg_int8(&heads[i], &arena, (int64_t)i + 1);
        pg_arg_int8(&heads[i], &arena, batch->heads.last_id[i]);
        pg_arg_int2(&heads[i], &arena, 1);
        pg_arg_time(&heads[i], &arena, NOW);
        pg_arg_int8(&heads[i], &arena, batch->heads.epoch[i]);
    }
    wire_answer(wire, HEADS, heads, 2);
}

Test(admission, a_batch_that_was_written_leaves_its_counters_in_the_cache) {
    struct pg_args asked = {0};
    struct err err = {0};
    answer_read();
    struct admission_batch *batch = read_batch(false);
    cr_assert(write_batch(batch, &err), "%s", err.text);
    answer_heads_of(batch);
    struct admission_batch *next = read_batch(false);
    cr_expect_eq(next->coupons[0].accepted, 42);
    pg_arg_int8s(&asked, &arena, (int64_t[]){9}, 1);
    expect_args(COUPONS, &asked);
    admission_abandon(pg, next);
}

static bool write_again(struct err *err) {
    struct admission_batch *batch = read_batch(false);
    cr_expect_eq(batch->coupons[0].accepted, 40, "nothing of a failed batch is cached");
    return write_batch(batch, err);
}

Test(admission, a_write_that_fails_at_any_step_is_rolled_back_and_empties_the_cache) {
    answer_read();
    expect_failures((const char *const[]){INSERT, APPEND, MOVE, COUNT, "commit", NULL}, write_again);
}

Test(admission, only_a_unique_violation_says_that_a_user_is_in_the_ledger) {
    struct err err = {0};
    answer_read();
    wire_fail(wire, INSERT, "23505");
    cr_assert_not(write_batch(read_batch(false), &err));
    cr_expect(admission_found_in_ledger(&err));
    wire_fail(wire, INSERT, "23503");
    cr_assert_not(write_batch(read_batch(false), &err));
    cr_expect_not(admission_found_in_ledger(&err));
    wire_fail(wire, INSERT, "");
    cr_assert_not(write_batch(read_batch(false), &err));
    cr_expect_not(admission_found_in_ledger(&err));
}

/* --- by memory --- */

/* A batch with coupon 7 alone, which touches one lane. */
static struct admission_batch *lone_batch(void) {
    struct admission_batch *batch = new_batch();
    batch->n_coupons = 1;
    batch->n_asks = 1;
    return batch;
}

/* Answers as Postgres would for a batch with coupon 7 alone. */
static void answer_lone_read(const struct coupon *row) {
    struct pg_args *head = new_rows(1), *coupon = new_rows(1);
    pg_arg_int8(head, &arena, 1);
    pg_arg_int8(head, &arena, 20);
    pg_arg_int2(head, &arena, 1);
    pg_arg_time(head, &arena, NOW);
    pg_arg_int8(head, &arena, 6);
    pg_arg_int8(coupon, &arena, 1);
    add_coupon_columns(coupon, row);
    wire_answer(wire, HEADS, head, 1);
    wire_answer(wire, COUPONS, coupon, 1);
}

static void learn(const struct coupon *row) {
    struct err err = {0};
    struct admission_batch *batch = lone_batch();
    answer_lone_read(row);
    cr_assert(admission_read(pg, &arena, LANES, batch, false, &err), "%s", err.text);
    admission_abandon(pg, batch);
}

static void answer_recalled(int64_t n) {
    struct pg_args *row = new_rows(1);
    pg_arg_int8(row, &arena, n);
    pg_arg_time(row, &arena, NOW + US_PER_S);
    pg_arg_int4(row, &arena, 1);
    wire_answer(wire, RECALLED, row, 1);
}

static enum admission_outcome write_recalled(struct admission_batch *batch, struct err *err) {
    struct outbox_batch outbox;
    outbox_batch_init(&outbox, &arena, &batch->heads);
    for (int i = 0; i < 2; i++)
        outbox_put(&outbox, murmur2_slot_of_id(7, LANES),
                   &(struct outbox_event){.coupon_id = 7, .ticket = 41 + i, .payload = {"p", 1}});
    batch->coupons[0].accepted += 2;
    return admission_write_recalled(pg, &arena, batch, &rows, &outbox, err);
}

Test(admission, a_recalled_batch_has_what_the_last_one_left_and_a_clock_that_goes_on) {
    cr_expect_not(admission_recall(&arena, LANES, lone_batch()), "nothing is known at first");
    learn(&seven);
    struct admission_batch *batch = lone_batch();
    cr_assert(admission_recall(&arena, LANES, batch));
    expect_coupon(&batch->coupons[0], &seven);
    cr_expect_eq(batch->heads.last_id[0], 20);
    cr_expect_eq(batch->heads.epoch[0], 6);
    cr_expect_eq(batch->segment, 1);
    cr_expect_geq(batch->now_us, NOW);
    cr_expect_leq(batch->now_us, NOW + 60 * US_PER_S);
    cr_expect_not(batch->in_ledger[0]);
    cr_expect_not(admission_recall(&arena, LANES, new_batch()), "two lanes, and coupon 9 is unknown");
}

Test(admission, a_coupon_that_opens_or_expires_now_is_not_recalled) {
    struct coupon row = seven;
    row.open_us = NOW;
    learn(&row);
    cr_expect_not(admission_recall(&arena, LANES, lone_batch()));
    row.open_us = TIME_OPEN_START;
    row.expire_us = NOW + US_PER_S / 2;
    coupon_cache_forget(cache);
    learn(&row);
    cr_expect_not(admission_recall(&arena, LANES, lone_batch()));
}

Test(admission, a_recalled_batch_is_written_in_one_statement_and_the_next_one_begins_where_it_ended) {
    struct err err = {0};
    learn(&seven);
    answer_recalled(1);
    struct admission_batch *batch = lone_batch(), *next = lone_batch();
    cr_assert(admission_recall(&arena, LANES, batch));
    int before = wire_count(wire, "");
    cr_assert_eq(write_recalled(batch, &err), ADMISSION_WRITTEN, "%s", err.text);
    cr_expect_eq(wire_count(wire, ""), before + 1);
    cr_expect_not(wire_in_transaction(wire));
    cr_assert(admission_recall(&arena, LANES, next));
    cr_expect_eq(next->coupons[0].accepted, 42);
    cr_expect_eq(next->heads.last_id[0], 22);
    cr_expect_geq(next->now_us, batch->now_us);
}

Test(admission, a_stale_memory_writes_nothing_and_a_failed_write_empties_it) {
    struct err err = {0};
    learn(&seven);
    answer_recalled(0);
    struct admission_batch *batch = lone_batch();
    cr_assert(admission_recall(&arena, LANES, batch));
    cr_assert_eq(write_recalled(batch, &err), ADMISSION_STALE);
    cr_assert(admission_recall(&arena, LANES, batch), "it keeps what it knew; a read replaces it");
    cr_expect_eq(batch->coupons[0].accepted, 40);
    wire_fail(wire, RECALLED, "23505");
    cr_assert_eq(write_recalled(batch, &err), ADMISSION_FAILED);
    cr_expect(admission_found_in_ledger(&err));
    cr_expect_not(admission_recall(&arena, LANES, lone_batch()));
}

/* --- abandon --- */

Test(admission, a_batch_that_is_abandoned_rolls_back_and_keeps_what_it_has_read) {
    answer_read();
    struct admission_batch *batch = read_batch(false);
    admission_abandon(pg, batch);
    cr_expect_str_eq(wire_last(wire, "")->sql, "rollback");
    cr_expect_not(wire_in_transaction(wire));
    struct admission_batch *next = read_batch(false);
    struct pg_args asked = {0};
    pg_arg_int8s(&asked, &arena, (int64_t[]){9}, 1);
    expect_args(COUPONS, &asked);
    expect_coupon(&next->coupons[0], &seven);
    wire_fail(wire, "rollback", "");
    admission_abandon(pg, next);
    cr_expect_not(pg_is_connected(pg), "a lost connection ends the transaction, too");
}

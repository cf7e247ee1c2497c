/* SPDX-License-Identifier: Apache-2.0 */
#include "store/integrity.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/murmur2.h"
#include "wire_fixture.h"

#define LANES     16
#define BEGIN     "begin isolation level repeatable read read only"
#define BY_INDEX  "set local enable_seqscan = off"
#define COUNTERS  "select c.quantity, a.quantity"
#define LEDGER    "count(distinct user_id)"
#define ISSUED    "count(*) filter (where first_ticket <= before)"
#define REJECTED  "from rejection t where"
#define WAITING   "select min(accept_time)"
#define LETTERS   "from dead_letter"
#define RANGES    "select first_ticket, last_ticket from issued where"
#define CURSOR    "select last_id from relay_cursor"
#define SEGMENT_0 "from outbox_published_0"
#define SEGMENT_1 "from outbox_published_1"
#define CREATED   INT64_C(1600000000000001)
#define NOW       INT64_C(1700000000000002)
#define WAITS     INT64_C(1650000000000003)

static struct arena wire_arena; /* of the thread of the wire */

static void set_up(void) {
    wire_set_up();
    arena_init(&wire_arena, 1 << 14);
}

static void tear_down(void) {
    wire_tear_down(); /* ends the thread */
    arena_deinit(&wire_arena);
}

TestSuite(integrity, .init = set_up, .fini = tear_down);

/* --- counts --- */

static void answer_numbers(const char *text, int64_t first, int n) {
    struct pg_args *row = new_rows(1);
    for (int i = 0; i < n; i++)
        pg_arg_int8(row, &arena, first + i);
    wire_answer(wire, text, row, 1);
}

static void answer_counts(int64_t waiting_us) {
    struct pg_args *counters = new_rows(1), *waiting = new_rows(1);
    for (int i = 0; i < 6; i++)
        pg_arg_int8(counters, &arena, 1 + i);
    pg_arg_bool(counters, &arena, true);
    pg_arg_time(counters, &arena, CREATED);
    pg_arg_time(counters, &arena, NOW);
    pg_arg_time(waiting, &arena, waiting_us);
    wire_answer(wire, COUNTERS, counters, 1);
    wire_answer(wire, WAITING, waiting, 1);
    answer_numbers(LEDGER, 10, 4);
    answer_numbers(ISSUED, 20, 4);
    answer_numbers(REJECTED, 30, 2);
    answer_numbers(LETTERS, 40, 2);
}

Test(integrity, every_count_is_read_from_its_column_and_the_transaction_stays_open) {
    struct integrity has;
    struct pg_args expected = {0};
    struct err err = {0};
    answer_counts(WAITS);
    cr_assert(integrity_begin(pg, &arena, INT64_MAX, &has, &err), "%s", err.text);
    pg_arg_int8(&expected, &arena, INT64_MAX);
    static const char *const reads[] = {COUNTERS, LEDGER, ISSUED, REJECTED, WAITING, LETTERS};
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++)
        expect_args(reads[i], &expected);
    const int64_t counts[] = {has.quantity,
                              has.admission_quantity,
                              has.issuance_quantity,
                              has.accepted,
                              has.issued,
                              has.rejected,
                              has.ledger_rows,
                              has.first_ticket,
                              has.last_ticket,
                              has.users,
                              has.ranges,
                              has.ranged,
                              has.held,
                              has.overlaps,
                              has.rejections,
                              has.rejections_wrong,
                              has.dead_letters,
                              has.dead_letters_open,
                              has.create_us,
                              has.now_us,
                              has.oldest_waiting_us};
    static const int64_t answered[] = {1,  2,  3,  4,  5,  6,  10, 11,      12,  13,   20,
                                       21, 22, 23, 30, 31, 40, 41, CREATED, NOW, WAITS};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        cr_expect_eq(counts[i], answered[i], "count %zu", i);
    cr_expect(has.frozen);
    cr_expect(wire_in_transaction(wire));
    integrity_end(pg);
    cr_expect_not(wire_in_transaction(wire));
    cr_expect_str_eq(wire_last(wire, "")->sql, "rollback");
}

Test(integrity, the_first_read_comes_after_the_snapshots_transaction_has_begun) {
    struct integrity has;
    struct err err = {0};
    wire_fail(wire, BY_INDEX, "23514");
    cr_expect_not(integrity_begin(pg, &arena, 7, &has, &err));
    cr_expect_eq(wire_count(wire, BEGIN), 1);
    cr_expect_eq(wire_count(wire, COUNTERS), 0);
}

Test(integrity, a_coupon_whose_tickets_are_all_decided_has_none_that_waits) {
    struct integrity has;
    struct err err = {0};
    answer_counts(INT64_MIN);
    cr_assert(integrity_begin(pg, &arena, 7, &has, &err), "%s", err.text);
    cr_expect_eq(has.oldest_waiting_us, INT64_MIN);
    integrity_end(pg);
}

Test(integrity, a_coupon_that_does_not_exist_leaves_no_transaction_open) {
    struct integrity has = {.quantity = 99};
    struct err err = {0};
    answer_counts(WAITS);
    wire_answer(wire, COUNTERS, NULL, 0);
    cr_assert_not(integrity_begin(pg, &arena, 7, &has, &err));
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    cr_expect_str_eq(err.text, "there is no such coupon");
    cr_expect_eq(has.quantity, 99);
    cr_expect(pg_is_connected(pg));
    cr_expect_not(wire_in_transaction(wire));
}

static bool begin_again(struct err *err) {
    struct integrity has = {.quantity = 99};
    bool ok = integrity_begin(pg, &arena, 7, &has, err);
    cr_expect_eq(has.quantity, ok ? 1 : 99);
    integrity_end(pg);
    return ok;
}

Test(integrity, counts_of_which_one_fails_are_not_told_at_all) {
    answer_counts(WAITS);
    expect_failures((const char *const[]){BEGIN, BY_INDEX, COUNTERS, LEDGER, ISSUED, REJECTED, WAITING, LETTERS, NULL},
                    begin_again);
}

/* --- ranges --- */

Test(integrity, ranges_are_read_into_the_arena_in_their_order) {
    struct ticket_range *ranges;
    struct pg_args *rows = new_rows(2), expected = {0};
    struct err err = {0};
    size_t n;
    pg_arg_int8(&rows[0], &arena, 1);
    pg_arg_int8(&rows[0], &arena, 5);
    pg_arg_int8(&rows[1], &arena, 9);
    pg_arg_int8(&rows[1], &arena, INT64_MAX);
    wire_answer(wire, RANGES, rows, 2);
    cr_assert(integrity_issued(pg, &arena, 7, &ranges, &n, &err), "%s", err.text);
    pg_arg_int8(&expected, &arena, 7);
    expect_args(RANGES, &expected);
    cr_assert_eq(n, 2);
    cr_expect_eq(ranges[0].first, 1);
    cr_expect_eq(ranges[0].last, 5);
    cr_expect_eq(ranges[1].first, 9);
    cr_expect_eq(ranges[1].last, INT64_MAX);
}

static bool ranges_again(struct err *err) {
    struct ticket_range *ranges = NULL;
    size_t n = 99;
    bool ok = integrity_issued(pg, &arena, 7, &ranges, &n, err);
    cr_expect_eq(n, ok ? 0 : 99);
    return ok;
}

Test(integrity, ranges_that_cannot_be_read_are_an_error) {
    expect_failures((const char *const[]){RANGES, NULL}, ranges_again);
}

/* --- events that are not sent --- */

#define EVENT_BYTES 20 /* an event without payload */

/* A segment whose rows have one event each, of which each third one is for coupon 7. */
struct segment {
    int64_t first, last; /* ids; the ticket is the id */
    struct pg_args rows[100];
    char events[100][EVENT_BYTES];
};

static const struct pg_args *rows_after(void *arg, int connection, const struct wire_statement *statement, int *ret_n) {
    struct segment *segment = arg;
    int64_t after;
    (void)connection;
    cr_assert_eq(wire_int8s(statement, 1, &after, 1), 1);
    memset(segment->rows, 0, sizeof segment->rows);
    int n = 0;
    for (int64_t id = after < segment->first ? segment->first : after + 1; id <= segment->last && n < 100; id++, n++) {
        struct pg_args *row = &segment->rows[n], numbers = {0};
        pg_arg_int8(&numbers, &wire_arena, id % 3 == 0 ? 7 : 8);
        pg_arg_int8(&numbers, &wire_arena, id);
        memset(segment->events[n], 0, EVENT_BYTES);
        memcpy(segment->events[n], numbers.values[0], 8);
        memcpy(segment->events[n] + 8, numbers.values[1], 8);
        pg_arg_int4(row, &wire_arena, murmur2_slot_of_id(7, LANES));
        pg_arg_int8(row, &wire_arena, id);
        pg_arg_int8(row, &wire_arena, id);
        pg_arg_time(row, &wire_arena, NOW + id);
        row->values[4] = segment->events[n];
        row->lengths[4] = EVENT_BYTES;
        row->n = 5;
        pg_arg_int8(row, &wire_arena, 1);
    }
    *ret_n = n;
    return segment->rows;
}

static void answer_segment(const char *text, int64_t first, int64_t last) {
    struct segment *segment = arena_zalloc(&arena, sizeof *segment);
    *segment = (struct segment){.first = first, .last = last};
    wire_answer_by(wire, text, rows_after, segment);
}

struct seen {
    int64_t n, first, last;
};

static void see(void *arg, int64_t ticket) {
    struct seen *seen = arg;
    if (seen->n++ == 0)
        seen->first = ticket;
    else
        cr_expect_eq(ticket, seen->last + 3, "tickets come in order, and each once");
    seen->last = ticket;
}

static struct unsent_events read_unsent(struct seen *seen) {
    struct unsent_events unsent = {.stream = STREAM_PUBLISHED, .coupon_id = 7, .on_ticket = see, .arg = seen};
    struct err err = {0};
    cr_assert(integrity_unsent(pg, &arena, LANES, &unsent, &err), "%s", err.text);
    return unsent;
}

Test(integrity, the_coupons_events_behind_the_cursor_are_told_from_both_segments_over_several_pages) {
    struct seen seen = {0};
    struct pg_args cursor = {0};
    answer_segment(SEGMENT_0, 1, 150);
    answer_segment(SEGMENT_1, 151, 420);
    answer_numbers(CURSOR, 20, 1);
    struct unsent_events unsent = read_unsent(&seen);
    pg_arg_int2(&cursor, &arena, STREAM_PUBLISHED);
    pg_arg_int4(&cursor, &arena, murmur2_slot_of_id(7, LANES));
    expect_args(CURSOR, &cursor);
    cr_expect(unsent.all);
    cr_expect_eq(unsent.oldest_us, NOW + 21);
    cr_expect_eq(seen.first, 21);
    cr_expect_eq(seen.last, 420);
    cr_expect_eq(seen.n, 134);
}

Test(integrity, a_lane_without_cursor_is_read_from_its_beginning_and_one_without_rows_has_nothing) {
    struct seen seen = {0};
    struct unsent_events unsent = read_unsent(&seen);
    cr_expect(unsent.all);
    cr_expect_eq(unsent.oldest_us, INT64_MIN);
    cr_expect_eq(seen.n, 0);
    answer_segment(SEGMENT_0, 1, 3);
    unsent = read_unsent(&seen);
    cr_expect(unsent.all);
    cr_expect_eq(seen.first, 3);
    cr_expect_eq(unsent.oldest_us, NOW + 3);
}

Test(integrity, after_5000_rows_the_rest_is_not_read_and_that_is_told) {
    struct seen seen = {0};
    answer_segment(SEGMENT_1, 1, 1000000);
    struct unsent_events unsent = read_unsent(&seen);
    cr_expect_not(unsent.all);
    cr_expect_eq(seen.last, 4998);
    cr_expect_eq(wire_count(wire, SEGMENT_0), 50);
}

Test(integrity, events_behind_a_gap_are_not_all_read) {
    struct seen seen = {0};
    answer_segment(SEGMENT_1, 2, 1000);
    struct unsent_events unsent = read_unsent(&seen);
    cr_expect_not(unsent.all);
    cr_expect_eq(seen.n, 0);
    cr_expect_eq(wire_count(wire, SEGMENT_1), 1, "it is not read again and again");
}

static bool unsent_again(struct err *err) {
    struct seen seen = {0};
    struct unsent_events unsent = {
        .stream = STREAM_PUBLISHED, .coupon_id = 7, .on_ticket = see, .arg = &seen, .oldest_us = 99};
    bool ok = integrity_unsent(pg, &arena, LANES, &unsent, err);
    cr_expect_eq(unsent.oldest_us, ok ? INT64_MIN : 99);
    return ok;
}

Test(integrity, events_that_cannot_be_read_are_an_error) {
    expect_failures((const char *const[]){CURSOR, SEGMENT_0, SEGMENT_1, NULL}, unsent_again);
}

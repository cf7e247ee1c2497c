/* SPDX-License-Identifier: Apache-2.0 */
#include "store/issuance.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/murmur2.h"
#include "wire_fixture.h"

#define LANES 4

TestSuite(issuance, .init = wire_set_up, .fini = wire_tear_down);

static void write_batch(struct issuance_batch *batch, const struct issuance_rows *rows) {
    struct outbox_batch outbox;
    struct err err = {0};
    outbox_batch_init(&outbox, &arena, &batch->heads);
    cr_assert(issuance_write(pg, &arena, batch, rows, &outbox, &err), "%s", err.text);
}

/* A batch with coupon 7 only. */
static struct issuance_batch batch_of_7(struct coupon *coupon, struct kafka_place *place, int64_t *next_offset) {
    struct issuance_batch batch = {
        .n_places = 1, .places = place, .next_offset = next_offset, .n_coupons = 1, .coupons = coupon};
    *coupon = (struct coupon){.id = 7, .exists = true, .quantity = 100, .issued = 6, .highest = 12};
    *place = (struct kafka_place){"t", 3};
    outbox_heads_init(&batch.heads, &arena, &coupon->id, 1, LANES);
    return batch;
}

Test(issuance, tickets_that_follow_one_another_are_written_as_one_run_in_whatever_order_they_came) {
    struct coupon coupon;
    struct kafka_place place;
    int64_t next_offset = 31, coupons[] = {7, 7, 7, 8, 7, 7, 7}, tickets[] = {5, 3, 4, 6, 12, 5, 11};
    struct issuance_batch batch = batch_of_7(&coupon, &place, &next_offset);
    const struct issuance_rows rows = {.n_issued = 7, .issued_coupon_id = coupons, .issued_ticket = tickets};
    write_batch(&batch, &rows);

    const struct wire_statement *insert = wire_last(wire, "insert into issued");
    int64_t coupon_id[8], first[8], last[8];
    cr_assert_eq(wire_int8s(insert, 0, coupon_id, 8), 3);
    cr_assert_eq(wire_int8s(insert, 1, first, 8), 3);
    cr_assert_eq(wire_int8s(insert, 2, last, 8), 3);
    const int64_t expected[3][3] = {{7, 3, 5}, {7, 11, 12}, {8, 6, 6}};
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(coupon_id[i], expected[i][0]);
        cr_expect_eq(first[i], expected[i][1]);
        cr_expect_eq(last[i], expected[i][2]);
    }
}

Test(issuance, a_batch_writes_its_offsets_and_ends_with_a_commit) {
    struct coupon coupon;
    struct kafka_place place;
    int64_t next_offset = 31, id = 7, ticket = 12, numbers[1];
    struct issuance_batch batch = batch_of_7(&coupon, &place, &next_offset);
    const struct issuance_rows rows = {.n_issued = 1, .issued_coupon_id = &id, .issued_ticket = &ticket};
    write_batch(&batch, &rows);
    const struct wire_statement *offsets = wire_last(wire, "update consumer_offset");
    wire_int8s(offsets, 1, numbers, 1);
    cr_expect_eq(numbers[0], 3);
    wire_int8s(offsets, 2, numbers, 1);
    cr_expect_eq(numbers[0], 31);
    cr_expect_eq(wire_count(wire, "insert into outbox_published_0"), 1);
    cr_expect_eq(wire_count(wire, "insert into rejection"), 0);
    cr_expect_str_eq(wire_last(wire, "")->sql, "commit");
}

Test(issuance, a_batch_that_only_rejects_appends_nothing_and_raises_the_lanes_epoch) {
    struct coupon coupon;
    struct kafka_place place;
    int64_t next_offset = 31, id = 7, ticket = 12;
    int32_t reason = REJECT_EXPIRED;
    struct issuance_batch batch = batch_of_7(&coupon, &place, &next_offset);
    const struct issuance_rows rows = {
        .n_rejected = 1, .rejected_coupon_id = &id, .rejected_ticket = &ticket, .rejected_reason = &reason};
    write_batch(&batch, &rows);
    cr_expect_eq(wire_count(wire, "insert into rejection"), 1);
    cr_expect_eq(wire_count(wire, "insert into outbox_published"), 0);
    cr_expect_eq(wire_count(wire, "set epoch = epoch + 1"), 1);
    cr_expect_eq(batch.heads.epoch[0], 1);
}

static void add_ledger_row(struct pg_args *row, int64_t coupon_id, int64_t ticket, int64_t user_id) {
    pg_arg_int8(row, &arena, coupon_id);
    pg_arg_int8(row, &arena, ticket);
    pg_arg_int8(row, &arena, user_id);
    pg_arg_time(row, &arena, 1700000000000000 + ticket);
    pg_arg_text(row, "r-1");
}

Test(issuance, each_event_finds_its_row_of_the_ledger_and_one_that_has_none_stays_empty) {
    struct coupon coupons[] = {{.id = 7}, {.id = 8}};
    struct kafka_place place = {"t", 0};
    int64_t next_offset = 0;
    struct issuance_event events[] = {{.coupon_id = 7, .ticket = 3},
                                      {.coupon_id = 8, .ticket = 1},
                                      {.coupon_id = 7, .ticket = 9},
                                      {.coupon_id = 7, .ticket = 3},
                                      {.coupon_id = 0},
                                      {.coupon_id = 7, .ticket = 2}};
    struct issuance_batch batch = {.n_places = 1,
                                   .places = &place,
                                   .next_offset = &next_offset,
                                   .n_coupons = 2,
                                   .coupons = coupons,
                                   .n_events = 6,
                                   .events = events};
    struct pg_args ledger[3] = {0}, offset = {0}, heads[2] = {0};
    struct err err = {0};
    add_ledger_row(&ledger[0], 7, 2, 102);
    add_ledger_row(&ledger[1], 7, 3, 103);
    add_ledger_row(&ledger[2], 8, 1, 201);
    wire_answer(wire, "cross join lateral (select ticket, user_id", ledger, 3);
    pg_arg_int8(&offset, &arena, 1);
    pg_arg_int8(&offset, &arena, 77);
    wire_answer(wire, "for update) o", &offset, 1);
    struct outbox_heads expected;
    outbox_heads_init(&expected, &arena, (int64_t[]){7, 8}, 2, LANES);
    for (size_t i = 0; i < expected.n; i++) {
        pg_arg_int8(&heads[i], &arena, (int64_t)i + 1);
        pg_arg_int8(&heads[i], &arena, 40 + (int64_t)i);
        pg_arg_int2(&heads[i], &arena, 1);
        pg_arg_time(&heads[i], &arena, 1700000001000000);
        pg_arg_int8(&heads[i], &arena, 6);
    }
    wire_answer(wire, "from outbox_segment", heads, (int)expected.n);
    cr_assert(issuance_read(pg, &arena, LANES, &batch, &err), "%s", err.text);

    const int64_t users[] = {103, 201, 0, 103, 0, 102};
    for (int i = 0; i < 6; i++)
        cr_expect_eq(events[i].ledger_user_id, users[i], "event %d", i);
    cr_expect_eq(events[0].accept_us, 1700000000000003);
    cr_expect_eq(events[0].request_id_len, 3);
    cr_expect_eq(memcmp(events[0].request_id, "r-1", 3), 0);
    cr_expect_eq(next_offset, 77);
    cr_expect_eq(batch.segment, 1);
    cr_expect_eq(batch.now_us, 1700000001000000);
    cr_expect_eq(batch.heads.last_id[0], 40);
    cr_expect_eq(batch.heads.epoch[0], 6);
    /* The runs: tickets 2 to 3 and 9 of coupon 7, and ticket 1 of coupon 8. */
    int64_t first[4];
    cr_expect_eq(wire_int8s(wire_last(wire, "cross join lateral (select ticket, user_id"), 1, first, 4), 3);
    issuance_abandon(pg, &batch);
}

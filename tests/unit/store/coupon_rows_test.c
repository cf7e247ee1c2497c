/* SPDX-License-Identifier: Apache-2.0 */
#include "store/coupon_rows.h"

#include <criterion/criterion.h>

#include "wire_fixture.h"

#define READ  "from unnest($1::bigint[]) with ordinality i(coupon_id, n)"
#define CLOCK "select clock_timestamp()"
#define EXIST "select i.n from unnest($1::bigint[]) with ordinality i(id, n)"
#define NOW   INT64_C(1700000000000001)

TestSuite(coupon_rows, .init = wire_set_up, .fini = wire_tear_down);

/* Two coupons whose columns all differ. */
static const struct coupon frozen = {.id = 7,
                                     .exists = true,
                                     .frozen = true,
                                     .status = COUPON_CLOSED,
                                     .quantity = INT64_MAX,
                                     .accepted = 90,
                                     .issued = 80,
                                     .rejected = 5,
                                     .highest = 85,
                                     .open_us = 1600000000000000,
                                     .expire_us = 1900000000000000,
                                     .version = 12};
static const struct coupon plain = {.id = 9,
                                    .exists = true,
                                    .status = COUPON_PAUSED,
                                    .quantity = 1,
                                    .open_us = TIME_OPEN_START,
                                    .expire_us = TIME_OPEN_END,
                                    .version = 2};

static void answer_clock(void) {
    struct pg_args *row = new_rows(1);
    pg_arg_time(row, &arena, NOW);
    wire_answer(wire, CLOCK, row, 1);
}

static void add_numbered(struct pg_args *row, int64_t number, const struct coupon *coupon) {
    pg_arg_int8(row, &arena, number);
    add_coupon_columns(row, coupon);
}

Test(coupon_rows, every_column_is_read_and_a_time_that_is_not_set_is_the_end_of_the_range) {
    struct pg_args *rows = new_rows(2);
    add_numbered(&rows[0], 5, &frozen);
    add_numbered(&rows[1], 6, &plain);
    PGresult *result = rows_result(rows, 2);
    struct coupon first = coupon_row_read(result, 0, 7), second = coupon_row_read(result, 1, 9);
    expect_coupon(&first, &frozen);
    expect_coupon(&second, &plain);
    PQclear(result);
}

/* Of a range type, Postgres itself has times without end. */
Test(coupon_rows, an_infinite_time_reads_as_one_that_is_not_set) {
    struct pg_args *row = new_rows(1), times = {0};
    add_numbered(row, 1, &plain);
    pg_arg_int8(&times, &arena, INT64_MIN);
    pg_arg_int8(&times, &arena, INT64_MAX);
    for (int i = 0; i < 2; i++) {
        row->values[3 + i] = times.values[i];
        row->lengths[3 + i] = times.lengths[i];
    }
    PGresult *result = rows_result(row, 1);
    struct coupon coupon = coupon_row_read(result, 0, 9);
    expect_coupon(&coupon, &plain);
    PQclear(result);
}

Test(coupon_rows, rows_in_any_order_find_their_coupons_and_a_coupon_without_a_row_is_left_as_it_is) {
    struct coupon coupons[] = {{.id = 9}, {.id = 8, .version = 77}, {.id = 7}};
    struct pg_args *rows = new_rows(2);
    add_numbered(&rows[0], 3, &frozen);
    add_numbered(&rows[1], 1, &plain);
    PGresult *result = rows_result(rows, 2);
    coupon_rows_read(result, coupons);
    expect_coupon(&coupons[0], &plain);
    expect_coupon(&coupons[1], &(struct coupon){.id = 8, .version = 77});
    expect_coupon(&coupons[2], &frozen);
    PQclear(result);
}

Test(coupon_rows, loaded_coupons_come_with_the_clock_and_keep_nothing_of_what_they_were) {
    struct coupon coupons[] = {{.id = 7}, {.id = INT64_MAX, .exists = true, .accepted = 4}, {.id = 9, .frozen = true}};
    struct pg_args *rows = new_rows(2), expected = {0};
    struct err err = {0};
    int64_t now_us = 0;
    add_numbered(&rows[0], 3, &plain);
    add_numbered(&rows[1], 1, &frozen);
    wire_answer(wire, READ, rows, 2);
    answer_clock();
    cr_assert(coupon_rows_load(pg, &arena, coupons, 3, &now_us, &err), "%s", err.text);
    pg_arg_int8s(&expected, &arena, (int64_t[]){7, INT64_MAX, 9}, 3);
    expect_args(READ, &expected);
    cr_expect_eq(now_us, NOW);
    expect_coupon(&coupons[0], &frozen);
    expect_coupon(&coupons[1], &(struct coupon){.id = INT64_MAX});
    expect_coupon(&coupons[2], &plain);
}

Test(coupon_rows, without_coupons_the_clock_is_read_alone) {
    struct err err = {0};
    int64_t now_us = 0;
    answer_clock();
    cr_assert(coupon_rows_load(pg, &arena, NULL, 0, &now_us, &err), "%s", err.text);
    cr_expect_eq(now_us, NOW);
}

static bool load_again(struct err *err) {
    struct coupon coupon = {.id = 7};
    int64_t now_us = 99;
    bool ok = coupon_rows_load(pg, &arena, &coupon, 1, &now_us, err);
    cr_expect_eq(now_us, ok ? NOW : 99);
    cr_expect_eq(coupon.id, 7);
    cr_expect_not(coupon.exists);
    return ok;
}

Test(coupon_rows, a_failed_load_gives_no_coupons_and_no_time) {
    answer_clock();
    expect_failures((const char *const[]){READ, CLOCK, NULL}, load_again);
}

Test(coupon_rows, the_coupons_that_exist_are_told_in_the_order_of_the_question) {
    bool exist[4] = {true, true, true, true};
    struct pg_args *rows = new_rows(2), expected = {0};
    struct err err = {0};
    pg_arg_int8(&rows[0], &arena, 4);
    pg_arg_int8(&rows[1], &arena, 1);
    wire_answer(wire, EXIST, rows, 2);
    cr_assert(coupon_rows_exist(pg, &arena, (int64_t[]){7, 0, INT64_MIN, 7}, 4, exist, &err), "%s", err.text);
    pg_arg_int8s(&expected, &arena, (int64_t[]){7, 0, INT64_MIN, 7}, 4);
    expect_args(EXIST, &expected);
    cr_expect(exist[0]);
    cr_expect_not(exist[1]);
    cr_expect_not(exist[2]);
    cr_expect(exist[3]);
}

static bool exist_again(struct err *err) {
    bool exist = true;
    bool ok = coupon_rows_exist(pg, &arena, (int64_t[]){7}, 1, &exist, err);
    cr_expect_eq(exist, !ok, "nothing is written on failure");
    return ok;
}

Test(coupon_rows, a_question_that_postgres_refuses_has_no_answer) {
    expect_failures((const char *const[]){EXIST, NULL}, exist_again);
}

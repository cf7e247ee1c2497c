/* SPDX-License-Identifier: Apache-2.0 */
#include "store/coupons.h"

#include <criterion/criterion.h>

#include "base/murmur2.h"
#include "wire_fixture.h"

#define LANES        16
#define GET          "where c.id = $1"
#define LIST         "where c.id > $1 order by c.id limit $2"
#define NEWEST       "or c.id < $1 order by c.id desc limit $2"
#define CLOCK        "select clock_timestamp()"
#define LOCK         "select pg_advisory_xact_lock($1)"
#define NEXT         "with recursive n(id)"
#define CLAIM        "insert into admin_request"
#define CLAIMED      "from admin_request where request_id = $1"
#define CREATE       "insert into coupon (id"
#define ADMISSION    "insert into admission"
#define ISSUANCE     "insert into issuance"
#define SET          "update coupon set status = $2"
#define ADD          "update coupon set quantity = quantity + $2"
#define ADD_ADMITTED "update admission set quantity = quantity + $2"
#define ADD_ISSUED   "update issuance set quantity = quantity + $2"
#define FREEZE       "update coupon set frozen = true"
#define CREATED_US   INT64_C(1600000000000001)
#define EXPIRE_US    INT64_C(1700000000000000)

TestSuite(coupons, .init = wire_set_up, .fini = wire_tear_down);

static struct coupon coupon_of(int64_t id, enum coupon_status status) {
    return (struct coupon){.id = id,
                           .exists = true,
                           .status = status,
                           .quantity = 100,
                           .accepted = 90,
                           .issued = 80,
                           .rejected = 5,
                           .highest = 85,
                           .open_us = TIME_OPEN_START,
                           .expire_us = EXPIRE_US,
                           .version = 12};
}

/* --- answers --- */

/* Returns the row of a coupon. Its 14 columns take two structs. */
static struct pg_args *detail_row(const struct coupon *coupon) {
    struct pg_args *row = new_rows(1);
    pg_arg_int8(row, &arena, coupon->id);
    add_coupon_columns(row, coupon);
    pg_arg_text(row, "쿠폰");
    pg_arg_float8(row, &arena, 12.5);
    pg_arg_time(row, &arena, CREATED_US);
    return row;
}

static void answer_coupon(int64_t id, enum coupon_status status) {
    const struct coupon coupon = coupon_of(id, status);
    wire_answer(wire, GET, detail_row(&coupon), 1);
}

static void answer_number(const char *text, int64_t number) {
    struct pg_args *row = new_rows(1);
    pg_arg_int8(row, &arena, number);
    wire_answer(wire, text, row, 1);
}

static void answer_clock(int64_t now_us) {
    struct pg_args *row = new_rows(1);
    pg_arg_time(row, &arena, now_us);
    wire_answer(wire, CLOCK, row, 1);
}

/* An earlier request has the id. */
static void answer_claimed(int64_t coupon_id, int64_t quantity, bool same_kind) {
    struct pg_args *row = new_rows(1);
    wire_answer(wire, CLAIM, NULL, 0);
    pg_arg_int8(row, &arena, coupon_id);
    pg_arg_int8(row, &arena, quantity);
    pg_arg_bool(row, &arena, same_kind);
    wire_answer(wire, CLAIMED, row, 1);
}

/* The coupon of the tests, all inserts succeed, and the coupon has not expired. */
static void answer_all(void) {
    answer_coupon(7, COUPON_PUBLISHABLE);
    answer_clock(EXPIRE_US - 1);
    answer_number(CLAIM, 1);
    answer_number(CREATE, 1);
}

/* --- checks --- */

static void expect_detail(const struct coupon_detail *detail, const struct coupon *coupon) {
    expect_coupon(&detail->row, coupon);
    cr_expect_str_eq(detail->name, "쿠폰");
    cr_expect_eq(detail->discount_rate, 12.5);
    cr_expect_eq(detail->create_us, CREATED_US);
}

static void expect_ended_by(const char *sql) {
    cr_expect_str_eq(wire_last(wire, "")->sql, sql);
    cr_expect_not(wire_in_transaction(wire));
}

static void expect_lock(int64_t id) {
    struct pg_args expected = {0};
    pg_arg_int8(&expected, &arena, pg_lock_key(pg, PG_LOCK_ADMIT, murmur2_slot_of_id(id, LANES)));
    expect_args(LOCK, &expected);
}

static void expect_two_args(const char *text, int64_t first, int64_t second) {
    struct pg_args expected = {0};
    pg_arg_int8(&expected, &arena, first);
    pg_arg_int8(&expected, &arena, second);
    expect_args(text, &expected);
}

/* Returns whether the outcome is COUPON_OK. */
static bool ok_or_failed(enum coupon_outcome outcome) {
    cr_expect(outcome == COUPON_OK || outcome == COUPON_FAILED, "%d", (int)outcome);
    return outcome == COUPON_OK;
}

/* --- reading --- */

Test(coupons, a_coupon_is_read_with_every_column) {
    const struct coupon coupon = {.id = INT64_MAX,
                                  .exists = true,
                                  .frozen = true,
                                  .status = COUPON_CLOSED,
                                  .quantity = INT64_MAX,
                                  .open_us = 1,
                                  .expire_us = TIME_OPEN_END,
                                  .version = 1};
    struct coupon_detail detail;
    struct pg_args expected = {0};
    struct err err = {0};
    wire_answer(wire, GET, detail_row(&coupon), 1);
    cr_assert_eq(coupon_get(pg, &arena, INT64_MAX, &detail, &err), COUPON_OK, "%s", err.text);
    pg_arg_int8(&expected, &arena, INT64_MAX);
    expect_args(GET, &expected);
    expect_detail(&detail, &coupon);
}

Test(coupons, a_coupon_that_does_not_exist_is_missing_and_that_is_no_error) {
    struct coupon_detail detail = {.create_us = 99};
    struct err err = {0};
    cr_expect_eq(coupon_get(pg, &arena, 7, &detail, &err), COUPON_MISSING);
    cr_expect_eq(err.code, ERR_NONE);
    cr_expect_eq(detail.create_us, 99);
}

Test(coupons, a_page_lists_coupons_in_the_order_of_the_rows) {
    struct coupon first = coupon_of(3, COUPON_PAUSED), second = coupon_of(9, COUPON_CLOSED);
    struct coupon_detail details[3] = {{.create_us = 0}, {.create_us = 0}, {.create_us = 99}};
    struct coupon_page page = {.after = 2, .room = 3, .coupons = details};
    struct pg_args *rows = new_rows(2);
    struct err err = {0};
    rows[0] = *detail_row(&first);
    rows[1] = *detail_row(&second);
    wire_answer(wire, LIST, rows, 2);
    cr_assert(coupon_list(pg, &arena, &page, &err), "%s", err.text);
    expect_two_args(LIST, 2, 3);
    cr_expect_eq(page.n, 2);
    expect_detail(&details[0], &first);
    expect_detail(&details[1], &second);
    cr_expect_eq(details[2].create_us, 99);
    wire_answer(wire, LIST, NULL, 0);
    cr_assert(coupon_list(pg, &arena, &page, &err), "%s", err.text);
    cr_expect_eq(page.n, 0);
}

Test(coupons, a_page_of_the_newest_goes_downwards) {
    struct coupon first = coupon_of(9, COUPON_CLOSED);
    struct coupon_detail details[2] = {{.create_us = 0}, {.create_us = 99}};
    struct coupon_page page = {.after = 10, .room = 2, .coupons = details};
    struct pg_args *rows = new_rows(1);
    struct err err = {0};
    rows[0] = *detail_row(&first);
    wire_answer(wire, NEWEST, rows, 1);
    cr_assert(coupon_list_newest(pg, &arena, &page, &err), "%s", err.text);
    expect_two_args(NEWEST, 10, 2);
    cr_expect_eq(page.n, 1);
    expect_detail(&details[0], &first);
    cr_expect_eq(details[1].create_us, 99);
}

static bool newest_again(struct err *err) {
    struct coupon_page page = {.n = 99};
    bool ok = coupon_list_newest(pg, &arena, &page, err);
    cr_expect_eq(page.n, ok ? 0 : 99);
    return ok;
}

static bool get_again(struct err *err) {
    struct coupon_detail detail = {.create_us = 99};
    bool ok = ok_or_failed(coupon_get(pg, &arena, 7, &detail, err));
    cr_expect_eq(detail.create_us, ok ? CREATED_US : 99);
    return ok;
}

static bool list_again(struct err *err) {
    struct coupon_page page = {.n = 99};
    bool ok = coupon_list(pg, &arena, &page, err);
    cr_expect_eq(page.n, ok ? 0 : 99);
    return ok;
}

static bool now_again(struct err *err) {
    int64_t now_us = 99;
    bool ok = coupon_now(pg, &now_us, err);
    cr_expect_eq(now_us, ok ? EXPIRE_US - 1 : 99);
    return ok;
}

Test(coupons, a_failed_read_returns_nothing) {
    answer_all();
    expect_failures((const char *const[]){GET, NULL}, get_again);
    expect_failures((const char *const[]){LIST, NULL}, list_again);
    expect_failures((const char *const[]){NEWEST, NULL}, newest_again);
    expect_failures((const char *const[]){CLOCK, NULL}, now_again);
}

/* --- creating --- */

static enum coupon_outcome create(int64_t id, const char *request_id, struct coupon_detail *ret, struct err *err) {
    *ret = (struct coupon_detail){.row = {.id = id,
                                          .status = COUPON_PAUSED,
                                          .quantity = INT64_MAX,
                                          .open_us = TIME_OPEN_START,
                                          .expire_us = EXPIRE_US},
                                  .name = "name",
                                  .discount_rate = 0.1};
    return coupon_create(pg, &arena, LANES, request_id, ret, err);
}

Test(coupons, a_coupon_is_created_with_its_counters_under_its_lanes_lock_and_returned_as_it_is_stored) {
    const struct coupon stored = coupon_of(7, COUPON_PUBLISHABLE);
    struct coupon_detail detail;
    struct pg_args expected = {0}, claim = {0};
    struct err err = {0};
    answer_all();
    cr_assert_eq(create(7, "r-1", &detail, &err), COUPON_OK, "%s", err.text);
    expect_lock(7);
    pg_arg_text(&claim, "r-1");
    pg_arg_text(&claim, "create");
    pg_arg_int8(&claim, &arena, 7);
    pg_arg_int8(&claim, &arena, INT64_MAX);
    expect_args(CLAIM, &claim);
    pg_arg_int8(&expected, &arena, 7);
    pg_arg_text(&expected, "name");
    pg_arg_int8(&expected, &arena, INT64_MAX);
    pg_arg_int2(&expected, &arena, COUPON_PAUSED);
    pg_arg_float8(&expected, &arena, 0.1);
    pg_arg_time(&expected, &arena, TIME_OPEN_START);
    pg_arg_time(&expected, &arena, EXPIRE_US);
    expect_args(CREATE, &expected);
    expect_two_args(ADMISSION, 7, INT64_MAX);
    expect_two_args(ISSUANCE, 7, INT64_MAX);
    expect_detail(&detail, &stored);
    cr_expect_eq(wire_count(wire, NEXT), 0);
    expect_ended_by("commit");
}

Test(coupons, a_coupon_without_id_gets_a_free_one_before_its_lane_is_locked) {
    struct coupon_detail detail;
    struct pg_args expected = {0};
    struct err err = {0};
    answer_all();
    answer_number(NEXT, INT64_MAX - 1);
    cr_assert_eq(create(0, "", &detail, &err), COUPON_OK, "%s", err.text);
    expect_lock(INT64_MAX - 1);
    expect_two_args(ADMISSION, INT64_MAX - 1, INT64_MAX);
    pg_arg_int8(&expected, &arena, INT64_MAX - 1);
    expect_args(GET, &expected);
    cr_expect_eq(wire_count(wire, CLAIM), 0, "a request without id is not recognized later");
}

Test(coupons, a_coupon_whose_id_is_taken_is_not_created_and_its_request_id_stays_free) {
    struct coupon_detail detail;
    struct err err = {0};
    answer_all();
    wire_answer(wire, CREATE, NULL, 0);
    cr_expect_eq(create(7, "r-1", &detail, &err), COUPON_EXISTS);
    cr_expect_eq(wire_count(wire, ADMISSION), 0);
    cr_expect_eq(err.code, ERR_NONE);
    expect_ended_by("rollback");
}

Test(coupons, a_repeated_creation_returns_the_coupon_that_the_first_one_made) {
    struct coupon_detail detail;
    struct pg_args claimed = {0}, get = {0};
    struct err err = {0};
    answer_all();
    answer_number(NEXT, 8);
    answer_claimed(7, INT64_MAX, true);
    cr_assert_eq(create(0, "r-1", &detail, &err), COUPON_OK, "%s", err.text);
    pg_arg_text(&claimed, "r-1");
    pg_arg_text(&claimed, "create");
    expect_args(CLAIMED, &claimed);
    pg_arg_int8(&get, &arena, 7);
    expect_args(GET, &get);
    cr_expect_eq(detail.row.id, 7);
    cr_expect_eq(wire_count(wire, CREATE), 0);
    cr_assert_eq(create(7, "r-1", &detail, &err), COUPON_OK, "the id may be the one that it got");
}

Test(coupons, a_request_id_of_another_creation_is_refused) {
    static const struct {
        int64_t coupon_id, quantity;
        bool same_kind;
    } earlier[] = {{8, INT64_MAX, true}, {7, 1, true}, {7, INT64_MAX, false}};
    struct coupon_detail detail;
    struct err err = {0};
    answer_all();
    for (size_t i = 0; i < sizeof earlier / sizeof earlier[0]; i++) {
        answer_claimed(earlier[i].coupon_id, earlier[i].quantity, earlier[i].same_kind);
        cr_expect_eq(create(7, "r-1", &detail, &err), COUPON_REQUEST_REUSED, "%zu", i);
        expect_ended_by("rollback");
    }
    wire_answer(wire, CLAIMED, NULL, 0);
    cr_expect_eq(create(7, "r-1", &detail, &err), COUPON_REQUEST_REUSED, "deleted between the two statements");
    cr_expect_eq(wire_count(wire, CREATE), 0);
    cr_expect_eq(err.code, ERR_NONE);
}

static bool create_again(struct err *err) {
    struct coupon_detail detail;
    return ok_or_failed(create(0, "r-1", &detail, err));
}

Test(coupons, a_creation_that_fails_at_any_step_changes_nothing) {
    answer_all();
    answer_number(NEXT, 7);
    expect_failures((const char *const[]){NEXT, "begin", LOCK, CLAIM, CREATE, ADMISSION, ISSUANCE, GET, "commit", NULL},
                    create_again);
    answer_claimed(7, INT64_MAX, true);
    expect_failures((const char *const[]){CLAIMED, GET, NULL}, create_again);
}

/* --- the status --- */

static enum coupon_outcome set_status(enum coupon_status status, struct coupon_detail *ret, struct err *err) {
    *ret = (struct coupon_detail){.row.id = 7};
    return coupon_set_status(pg, &arena, LANES, status, ret, err);
}

Test(coupons, a_status_is_set_under_the_lanes_lock_and_the_coupon_is_read_again) {
    const struct coupon after = coupon_of(7, COUPON_CLOSED);
    struct coupon_detail detail;
    struct pg_args expected = {0};
    struct err err = {0};
    answer_all();
    wire_answer_after(wire, SET, GET, detail_row(&after), 1);
    cr_assert_eq(set_status(COUPON_CLOSED, &detail, &err), COUPON_OK, "%s", err.text);
    expect_lock(7);
    pg_arg_int8(&expected, &arena, 7);
    pg_arg_int2(&expected, &arena, COUPON_CLOSED);
    expect_args(SET, &expected);
    expect_detail(&detail, &after);
    expect_ended_by("commit");
}

Test(coupons, a_closed_coupon_stays_closed_and_may_be_closed_again) {
    struct coupon_detail detail;
    struct err err = {0};
    answer_coupon(7, COUPON_CLOSED);
    cr_expect_eq(set_status(COUPON_PUBLISHABLE, &detail, &err), COUPON_IS_CLOSED);
    expect_ended_by("rollback");
    cr_expect_eq(set_status(COUPON_PAUSED, &detail, &err), COUPON_IS_CLOSED);
    cr_expect_eq(wire_count(wire, SET), 0);
    cr_expect_eq(set_status(COUPON_CLOSED, &detail, &err), COUPON_OK);
    cr_expect_eq(err.code, ERR_NONE);
}

Test(coupons, the_status_of_a_missing_coupon_is_not_set) {
    struct coupon_detail detail;
    struct err err = {0};
    cr_expect_eq(set_status(COUPON_PAUSED, &detail, &err), COUPON_MISSING);
    cr_expect_eq(wire_count(wire, SET), 0);
    expect_ended_by("rollback");
}

static bool set_status_again(struct err *err) {
    struct coupon_detail detail;
    return ok_or_failed(set_status(COUPON_PAUSED, &detail, err));
}

Test(coupons, a_status_that_fails_at_any_step_is_not_set) {
    struct coupon_detail detail;
    struct err err = {0};
    answer_all();
    wire_fail(wire, LOCK, "55P03");
    cr_expect_eq(set_status(COUPON_PAUSED, &detail, &err), COUPON_FAILED);
    cr_expect(err.retriable);
    cr_expect_eq(wire_count(wire, GET), 0, "nothing is read before the lane is locked");
    expect_failures((const char *const[]){"begin", LOCK, GET, SET, "commit", NULL}, set_status_again);
}

/* --- the quantity --- */

static enum coupon_outcome add(int64_t quantity, struct coupon_detail *ret, struct err *err) {
    const struct coupon_addition addition = {.coupon_id = 7, .quantity = quantity, .request_id = "r-1"};
    return coupon_add_quantity(pg, &arena, LANES, &addition, ret, err);
}

Test(coupons, a_quantity_is_added_to_the_coupon_and_both_counters) {
    struct coupon after = coupon_of(7, COUPON_PUBLISHABLE);
    struct coupon_detail detail;
    struct pg_args claim = {0};
    struct err err = {0};
    after.quantity = 123;
    answer_all();
    wire_answer_after(wire, ADD_ISSUED, GET, detail_row(&after), 1);
    cr_assert_eq(add(INT64_MAX, &detail, &err), COUPON_OK, "%s", err.text);
    expect_lock(7);
    pg_arg_text(&claim, "r-1");
    pg_arg_text(&claim, "add");
    pg_arg_int8(&claim, &arena, 7);
    pg_arg_int8(&claim, &arena, INT64_MAX);
    expect_args(CLAIM, &claim);
    expect_two_args(ADD, 7, INT64_MAX);
    expect_two_args(ADD_ADMITTED, 7, INT64_MAX);
    expect_two_args(ADD_ISSUED, 7, INT64_MAX);
    expect_detail(&detail, &after);
    expect_ended_by("commit");
}

Test(coupons, nothing_is_added_to_a_coupon_that_is_missing_closed_or_expired) {
    struct coupon_detail detail;
    struct err err = {0};
    answer_all();
    answer_clock(EXPIRE_US);
    cr_expect_eq(add(5, &detail, &err), COUPON_IS_EXPIRED);
    expect_ended_by("rollback");
    answer_coupon(7, COUPON_CLOSED);
    cr_expect_eq(add(5, &detail, &err), COUPON_IS_CLOSED);
    expect_ended_by("rollback");
    wire_answer(wire, GET, NULL, 0);
    cr_expect_eq(add(5, &detail, &err), COUPON_MISSING);
    expect_ended_by("rollback");
    cr_expect_eq(wire_count(wire, ADD), 0);
    cr_expect_eq(err.code, ERR_NONE);
}

Test(coupons, a_coupon_that_is_paused_and_never_expires_takes_a_quantity) {
    struct coupon coupon = coupon_of(7, COUPON_PAUSED);
    struct coupon_detail detail;
    struct err err = {0};
    answer_all();
    coupon.expire_us = TIME_OPEN_END;
    wire_answer(wire, GET, detail_row(&coupon), 1);
    cr_expect_eq(add(5, &detail, &err), COUPON_OK);
    cr_expect_eq(wire_count(wire, ADD), 1);
}

Test(coupons, a_repeated_addition_succeeds_without_adding_even_if_the_coupon_is_closed_by_now) {
    struct coupon_detail detail;
    struct err err = {0};
    answer_all();
    answer_coupon(7, COUPON_CLOSED);
    answer_clock(EXPIRE_US);
    answer_claimed(7, 5, true);
    cr_expect_eq(add(5, &detail, &err), COUPON_OK, "%s", err.text);
    cr_expect_eq(detail.row.status, COUPON_CLOSED);
    cr_expect_eq(wire_count(wire, ADD), 0);
    cr_expect_eq(add(6, &detail, &err), COUPON_REQUEST_REUSED);
    answer_claimed(8, 5, true);
    cr_expect_eq(add(5, &detail, &err), COUPON_REQUEST_REUSED);
    expect_ended_by("rollback");
}

static bool add_again(struct err *err) {
    struct coupon_detail detail;
    return ok_or_failed(add(5, &detail, err));
}

Test(coupons, an_addition_that_fails_at_any_step_adds_nothing) {
    answer_all();
    expect_failures(
        (const char *const[]){CLOCK, "begin", LOCK, GET, CLAIM, ADD, ADD_ADMITTED, ADD_ISSUED, "commit", NULL},
        add_again);
}

/* --- freezing --- */

static bool freeze_again(struct err *err) {
    return ok_or_failed(coupon_freeze(pg, &arena, LANES, 7, err));
}

Test(coupons, a_coupon_is_frozen_under_its_lanes_lock) {
    struct pg_args expected = {0};
    cr_assert(freeze_again(NULL));
    expect_lock(7);
    pg_arg_int8(&expected, &arena, 7);
    expect_args(FREEZE, &expected);
    expect_ended_by("commit");
    expect_failures((const char *const[]){"begin", LOCK, FREEZE, "commit", NULL}, freeze_again);
}

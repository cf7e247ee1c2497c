/* SPDX-License-Identifier: Apache-2.0 */
#include "store/live_coupons.h"

#include <criterion/criterion.h>

#include "wire_fixture.h"

#define LIST   "from live_coupon where coupon_id > $1"
#define ALL    "select id from coupon where id > $1"
#define ADD    "insert into live_coupon"
#define REMOVE "delete from live_coupon"

TestSuite(live_coupons, .init = wire_set_up, .fini = wire_tear_down);

static int64_t id[3], changes[3];

static void expect_page_args(const char *text, int64_t after, int64_t room) {
    struct pg_args expected = {0};
    pg_arg_int8(&expected, &arena, after);
    pg_arg_int8(&expected, &arena, room);
    expect_args(text, &expected);
}

Test(live_coupons, a_page_has_the_ids_with_their_changes) {
    struct coupon_ids ids = {.after = 6, .room = 3, .id = id, .changes = changes};
    struct pg_args *rows = new_rows(2);
    struct err err = {0};
    pg_arg_int8(&rows[0], &arena, 7);
    pg_arg_int8(&rows[0], &arena, 0);
    pg_arg_int8(&rows[1], &arena, INT64_MAX);
    pg_arg_int8(&rows[1], &arena, 12);
    wire_answer(wire, LIST, rows, 2);
    cr_assert(live_coupons_list(pg, &arena, &ids, &err), "%s", err.text);
    expect_page_args(LIST, 6, 3);
    cr_expect_eq(ids.n, 2);
    cr_expect_eq(id[0], 7);
    cr_expect_eq(changes[0], 0);
    cr_expect_eq(id[1], INT64_MAX);
    cr_expect_eq(changes[1], 12);
    cr_expect_eq(id[2], 0);
    cr_expect_eq(ids.after, 6, "the caller moves it");
}

Test(live_coupons, a_page_of_all_coupons_needs_no_room_for_changes) {
    struct coupon_ids ids = {.after = 0, .room = 2, .id = id, .changes = NULL};
    struct pg_args *rows = new_rows(2);
    struct err err = {0};
    pg_arg_int8(&rows[0], &arena, 7);
    pg_arg_int8(&rows[1], &arena, 9);
    wire_answer(wire, ALL, rows, 2);
    cr_assert(live_coupons_list_all(pg, &arena, &ids, &err), "%s", err.text);
    expect_page_args(ALL, 0, 2);
    cr_expect_eq(ids.n, 2);
    cr_expect_eq(id[0], 7);
    cr_expect_eq(id[1], 9);
    cr_expect_eq(wire_count(wire, LIST), 0);
}

Test(live_coupons, a_page_without_coupons_is_empty) {
    struct coupon_ids ids = {.room = 2, .id = id, .changes = changes, .n = 2};
    struct err err = {0};
    cr_assert(live_coupons_list(pg, &arena, &ids, &err), "%s", err.text);
    cr_expect_eq(ids.n, 0);
}

Test(live_coupons, coupons_are_added_by_their_ids) {
    struct pg_args expected = {0};
    struct err err = {0};
    cr_assert(live_coupons_add(pg, &arena, (int64_t[]){9, 7}, 2, &err), "%s", err.text);
    pg_arg_int8s(&expected, &arena, (int64_t[]){9, 7}, 2);
    expect_args(ADD, &expected);
}

Test(live_coupons, a_coupon_is_removed_by_its_id_and_the_changes_that_were_read) {
    const struct coupon_ids ended = {
        .room = 3, .id = (int64_t[]){7, 9, 11}, .changes = (int64_t[]){1, INT64_MAX, 5}, .n = 2};
    struct pg_args expected = {0};
    struct err err = {0};
    cr_assert(live_coupons_remove(pg, &arena, &ended, &err), "%s", err.text);
    pg_arg_int8s(&expected, &arena, (int64_t[]){7, 9}, 2);
    pg_arg_int8s(&expected, &arena, (int64_t[]){1, INT64_MAX}, 2);
    expect_args(REMOVE, &expected);
}

Test(live_coupons, no_coupons_need_no_round_trip) {
    struct err err = {0};
    cr_expect(live_coupons_add(pg, &arena, NULL, 0, &err));
    cr_expect(live_coupons_remove(pg, &arena, &(struct coupon_ids){.room = 3}, &err));
    cr_expect_eq(wire_count(wire, "live_coupon"), 0);
}

static bool list_again(struct err *err) {
    struct coupon_ids ids = {.room = 1, .id = id, .changes = changes, .n = 99};
    bool ok = live_coupons_list(pg, &arena, &ids, err);
    cr_expect_eq(ids.n, ok ? 0 : 99);
    return ok;
}

static bool list_all_again(struct err *err) {
    struct coupon_ids ids = {.room = 1, .id = id, .n = 99};
    bool ok = live_coupons_list_all(pg, &arena, &ids, err);
    cr_expect_eq(ids.n, ok ? 0 : 99);
    return ok;
}

static bool add_again(struct err *err) {
    return live_coupons_add(pg, &arena, (int64_t[]){7}, 1, err);
}

static bool remove_again(struct err *err) {
    return live_coupons_remove(pg, &arena, &(struct coupon_ids){.id = id, .changes = changes, .n = 1}, err);
}

Test(live_coupons, what_postgres_refuses_is_an_error) {
    expect_failures((const char *const[]){LIST, NULL}, list_again);
    expect_failures((const char *const[]){ALL, NULL}, list_all_again);
    expect_failures((const char *const[]){ADD, NULL}, add_again);
    expect_failures((const char *const[]){REMOVE, NULL}, remove_again);
}

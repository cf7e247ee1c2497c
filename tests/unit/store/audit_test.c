/* SPDX-License-Identifier: Apache-2.0 */
#include "store/audit.h"

#include <criterion/criterion.h>

#include "wire_fixture.h"

#define BY_INDEX    "set local enable_seqscan = off"
#define COUNT       "select count(*), coalesce(max(ticket), 0)"
#define UNISSUED    "with r as materialized"
#define OLDEST      "backend_xmin"
#define LOCK        "pg_try_advisory_lock($1)"
#define ACCEPTED_US INT64_C(1700000000000001)

TestSuite(audit, .init = wire_set_up, .fini = wire_tear_down);

/* --- counts --- */

static void answer_counts(void) {
    struct pg_args *row = new_rows(1);
    pg_arg_int8(row, &arena, 40);
    pg_arg_int8(row, &arena, INT64_MAX);
    pg_arg_int8(row, &arena, 30);
    pg_arg_int8(row, &arena, 100);
    wire_answer(wire, COUNT, row, 1);
}

Test(audit, the_counts_of_a_coupon_are_read_by_index_in_a_transaction_of_their_own) {
    struct audit audit;
    struct pg_args expected = {0};
    struct err err = {0};
    answer_counts();
    cr_assert(audit_coupon(pg, &arena, INT64_MAX, &audit, &err), "%s", err.text);
    pg_arg_int8(&expected, &arena, INT64_MAX);
    expect_args(COUNT, &expected);
    cr_expect_eq(audit.ledger_rows, 40);
    cr_expect_eq(audit.max_ticket, INT64_MAX);
    cr_expect_eq(audit.held, 30);
    cr_expect_eq(audit.quantity, 100);
    cr_expect_eq(wire_count(wire, BY_INDEX), 1);
    cr_expect_str_eq(wire_last(wire, "")->sql, "commit");
    cr_expect_not(wire_in_transaction(wire));
}

Test(audit, a_coupon_without_counters_has_a_quantity_of_0) {
    struct audit audit = {.quantity = 99};
    struct pg_args *row = new_rows(1);
    struct err err = {0};
    for (int i = 0; i < 3; i++)
        pg_arg_int8(row, &arena, i);
    pg_arg_text(row, NULL);
    wire_answer(wire, COUNT, row, 1);
    cr_assert(audit_coupon(pg, &arena, 7, &audit, &err), "%s", err.text);
    cr_expect_eq(audit.held, 2);
    cr_expect_eq(audit.quantity, 0);
}

static bool counts_again(struct err *err) {
    struct audit audit = {.held = 99};
    bool ok = audit_coupon(pg, &arena, 7, &audit, err);
    cr_expect_eq(audit.held, ok ? 30 : 99);
    return ok;
}

Test(audit, counts_that_fail_at_any_step_are_not_told) {
    answer_counts();
    expect_failures((const char *const[]){"begin", BY_INDEX, COUNT, "commit", NULL}, counts_again);
}

/* --- tickets --- */

Test(audit, tickets_that_are_not_issued_come_with_their_requests) {
    struct request_status statuses[3] = {0};
    struct unissued_tickets unissued = {.coupon_id = 7, .after = 0, .to = INT64_MAX, .room = 3, .statuses = statuses};
    struct pg_args *rows = new_rows(2), expected = {0};
    struct err err = {0};
    for (int i = 0; i < 2; i++) {
        pg_arg_int8(&rows[i], &arena, 70 + i);
        pg_arg_int8(&rows[i], &arena, 3 + i);
        pg_arg_text(&rows[i], i ? "r-2" : "");
        pg_arg_time(&rows[i], &arena, ACCEPTED_US + i);
    }
    statuses[0] = (struct request_status){.reject_reason = REJECT_CLOSED, .issue_us = 5};
    wire_answer(wire, UNISSUED, rows, 2);
    cr_assert(audit_unissued(pg, &arena, &unissued, &err), "%s", err.text);
    pg_arg_int8(&expected, &arena, 7);
    pg_arg_int8(&expected, &arena, 0);
    pg_arg_int8(&expected, &arena, INT64_MAX);
    pg_arg_int8(&expected, &arena, 3);
    expect_args(UNISSUED, &expected);
    cr_expect_eq(unissued.n, 2);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(statuses[i].coupon_id, 7);
        cr_expect_eq(statuses[i].user_id, 70 + i);
        cr_expect(statuses[i].found);
        cr_expect_eq(statuses[i].ticket, 3 + i);
        cr_expect_str_eq(statuses[i].request_id, i ? "r-2" : "");
        cr_expect_eq(statuses[i].accept_us, ACCEPTED_US + i);
        cr_expect_eq(statuses[i].issue_us, NOT_ISSUED);
        cr_expect_eq(statuses[i].reject_reason, REJECT_NONE);
    }
    cr_expect_not(statuses[2].found);
    cr_expect_eq(wire_count(wire, BY_INDEX), 1);
    cr_expect_not(wire_in_transaction(wire));
}

static bool unissued_again(struct err *err) {
    struct request_status status;
    struct unissued_tickets unissued = {.coupon_id = 7, .to = 9, .room = 1, .statuses = &status, .n = 99};
    bool ok = audit_unissued(pg, &arena, &unissued, err);
    cr_expect_eq(unissued.n, ok ? 0 : 99);
    return ok;
}

Test(audit, tickets_that_fail_at_any_step_are_not_told) {
    expect_failures((const char *const[]){"begin", BY_INDEX, UNISSUED, "commit", NULL}, unissued_again);
}

/* --- the server --- */

Test(audit, the_oldest_snapshot_is_the_transaction_that_postgres_names) {
    struct pg_args *row = new_rows(1);
    struct err err = {0};
    int64_t xmin = 99;
    pg_arg_int8(row, &arena, 4294967295);
    wire_answer(wire, OLDEST, row, 1);
    cr_assert(audit_oldest_snapshot(pg, &xmin, &err), "%s", err.text);
    cr_expect_eq(xmin, 4294967295);
}

static void answer_lock(bool own) {
    struct pg_args *row = new_rows(1);
    pg_arg_bool(row, &arena, own);
    wire_answer(wire, LOCK, row, 1);
}

Test(audit, the_lock_is_that_of_the_reconciler_and_its_owner_is_told) {
    struct pg_args expected = {0};
    struct err err = {0};
    bool own = false;
    answer_lock(true);
    cr_assert(audit_take_lock(pg, &own, &err), "%s", err.text);
    cr_expect(own);
    pg_arg_int8(&expected, &arena, pg_lock_key(pg, PG_LOCK_RECONCILE, 0));
    expect_args(LOCK, &expected);
    answer_lock(false);
    cr_assert(audit_take_lock(pg, &own, &err), "%s", err.text);
    cr_expect_not(own);
}

static bool snapshot_again(struct err *err) {
    int64_t xmin = 99;
    bool ok = audit_oldest_snapshot(pg, &xmin, err);
    cr_expect_eq(xmin, ok ? 0 : 99);
    return ok;
}

static bool lock_again(struct err *err) {
    bool own = false;
    bool ok = audit_take_lock(pg, &own, err);
    cr_expect_eq(own, ok);
    return ok;
}

Test(audit, without_an_answer_neither_snapshot_nor_lock_is_told) {
    struct pg_args *row = new_rows(1);
    pg_arg_int8(row, &arena, 0);
    wire_answer(wire, OLDEST, row, 1);
    answer_lock(true);
    expect_failures((const char *const[]){OLDEST, NULL}, snapshot_again);
    expect_failures((const char *const[]){LOCK, NULL}, lock_again);
}

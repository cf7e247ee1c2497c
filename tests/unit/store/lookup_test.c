/* SPDX-License-Identifier: Apache-2.0 */
#include "store/lookup.h"

#include <criterion/criterion.h>

#include "wire_fixture.h"

#define STATUSES    "select i.n, p.ticket"
#define TICKET      "select p.user_id, p.request_id"
#define USERS       "select user_id, ticket from publish_request"
#define COUPONS     "from user_coupon"
#define ACCEPTED_US INT64_C(1700000000000001)
#define ISSUED_US   INT64_C(1700000000000002)

TestSuite(lookup, .init = wire_set_up, .fini = wire_tear_down);

/* Adds request_id, accept_time, issue_time (NOT_ISSUED: null) and reason (REJECT_NONE: null). */
static void add_status_columns(struct pg_args *row, const char *request_id, int64_t issue_us,
                               enum reject_reason reason) {
    pg_arg_text(row, request_id);
    pg_arg_time(row, &arena, ACCEPTED_US);
    pg_arg_time(row, &arena, issue_us);
    if (reason == REJECT_NONE)
        pg_arg_text(row, NULL);
    else
        pg_arg_int2(row, &arena, (int16_t)reason);
}

static void expect_status(const struct request_status *status, const struct request_status *expected) {
    cr_expect_eq(status->coupon_id, expected->coupon_id);
    cr_expect_eq(status->user_id, expected->user_id);
    cr_expect_eq(status->found, expected->found);
    cr_expect_eq(status->ticket, expected->ticket);
    if (expected->request_id)
        cr_expect_str_eq(status->request_id, expected->request_id);
    else
        cr_expect_null(status->request_id);
    cr_expect_eq(status->accept_us, expected->accept_us);
    cr_expect_eq(status->issue_us, expected->issue_us);
    cr_expect_eq(status->reject_reason, expected->reject_reason);
}

/* --- statuses --- */

Test(lookup, each_row_fills_the_status_that_its_number_names_and_the_others_are_not_found) {
    struct request_status statuses[] = {{.coupon_id = 7, .user_id = 70, .found = true, .ticket = 5, .issue_us = 1},
                                        {.coupon_id = 8, .user_id = INT64_MAX, .request_id = "old"},
                                        {.coupon_id = 0, .user_id = 0, .reject_reason = REJECT_CLOSED},
                                        {.coupon_id = 7, .user_id = 71}};
    struct pg_args *rows = new_rows(3), expected = {0};
    struct err err = {0};
    pg_arg_int8(&rows[0], &arena, 4);
    pg_arg_int8(&rows[0], &arena, INT64_MAX);
    add_status_columns(&rows[0], "", NOT_ISSUED, REJECT_EXPIRED);
    pg_arg_int8(&rows[1], &arena, 2);
    pg_arg_int8(&rows[1], &arena, 1);
    add_status_columns(&rows[1], "r-2", ISSUED_US, REJECT_NONE);
    pg_arg_int8(&rows[2], &arena, 1);
    pg_arg_int8(&rows[2], &arena, 3);
    add_status_columns(&rows[2], "쿠폰", NOT_ISSUED, REJECT_NONE);
    wire_answer(wire, STATUSES, rows, 3);
    cr_assert(lookup_statuses(pg, &arena, statuses, 4, &err), "%s", err.text);
    pg_arg_int8s(&expected, &arena, (int64_t[]){7, 8, 0, 7}, 4);
    pg_arg_int8s(&expected, &arena, (int64_t[]){70, INT64_MAX, 0, 71}, 4);
    expect_args(STATUSES, &expected);
    const struct request_status read[] = {
        {7, 70, true, 3, "쿠폰", ACCEPTED_US, NOT_ISSUED, REJECT_NONE},
        {8, INT64_MAX, true, 1, "r-2", ACCEPTED_US, ISSUED_US, REJECT_NONE},
        {.issue_us = NOT_ISSUED},
        {7, 71, true, INT64_MAX, "", ACCEPTED_US, NOT_ISSUED, REJECT_EXPIRED},
    };
    for (int i = 0; i < 4; i++)
        expect_status(&statuses[i], &read[i]);
}

Test(lookup, no_statuses_cost_no_connection) {
    struct pg_args expected = {0};
    struct err err = {0};
    cr_assert(lookup_statuses(pg, &arena, NULL, 0, &err), "%s", err.text);
    pg_arg_int8s(&expected, &arena, NULL, 0);
    pg_arg_int8s(&expected, &arena, NULL, 0);
    expect_args(STATUSES, &expected);
    cr_expect(pg_is_connected(pg));
}

static bool statuses_again(struct err *err) {
    struct request_status status = {.coupon_id = 7, .user_id = 70};
    return lookup_statuses(pg, &arena, &status, 1, err) && !status.found;
}

Test(lookup, statuses_that_cannot_be_read_are_an_error) {
    expect_failures((const char *const[]){STATUSES, NULL}, statuses_again);
}

/* --- one ticket --- */

Test(lookup, a_ticket_is_found_with_its_user_and_its_fate) {
    struct request_status status = {.coupon_id = 7, .ticket = INT64_MAX, .user_id = 1};
    struct pg_args *row = new_rows(1), expected = {0};
    struct err err = {0};
    pg_arg_int8(row, &arena, 70);
    add_status_columns(row, "r-1", ISSUED_US, REJECT_ALREADY_ISSUED);
    wire_answer(wire, TICKET, row, 1);
    cr_assert(lookup_ticket(pg, &arena, &status, &err), "%s", err.text);
    pg_arg_int8(&expected, &arena, 7);
    pg_arg_int8(&expected, &arena, INT64_MAX);
    expect_args(TICKET, &expected);
    expect_status(&status, &(struct request_status){7, 70, true, INT64_MAX, "r-1", ACCEPTED_US, ISSUED_US,
                                                    REJECT_ALREADY_ISSUED});
}

Test(lookup, a_ticket_that_the_ledger_does_not_have_keeps_nothing_of_an_earlier_answer) {
    struct request_status status = {7, 70, true, 3, "r-1", ACCEPTED_US, ISSUED_US, REJECT_CLOSED};
    struct err err = {0};
    cr_assert(lookup_ticket(pg, &arena, &status, &err), "%s", err.text);
    expect_status(&status, &(struct request_status){.coupon_id = 7, .ticket = 3, .issue_us = NOT_ISSUED});
}

static bool ticket_again(struct err *err) {
    struct request_status status = {.coupon_id = 7, .ticket = 3};
    return lookup_ticket(pg, &arena, &status, err);
}

Test(lookup, a_ticket_that_cannot_be_read_is_an_error) {
    expect_failures((const char *const[]){TICKET, NULL}, ticket_again);
}

/* --- a page of tickets --- */

#define PAGE "select p.ticket, p.user_id"

static void expect_page_args(int64_t after) {
    struct pg_args expected = {0};
    pg_arg_int8(&expected, &arena, 7);
    pg_arg_int8(&expected, &arena, after);
    pg_arg_int8(&expected, &arena, 2);
    expect_args(PAGE, &expected);
}

Test(lookup, a_page_of_tickets_has_their_users_and_their_fates) {
    struct request_status statuses[2];
    struct ticket_page page = {.coupon_id = 7, .after = 4, .room = 2, .statuses = statuses};
    struct pg_args *rows = new_rows(2);
    struct err err = {0};
    for (int i = 0; i < 2; i++) {
        pg_arg_int8(&rows[i], &arena, 5 + i);
        pg_arg_int8(&rows[i], &arena, 70 + i);
        add_status_columns(&rows[i], "r", i ? NOT_ISSUED : ISSUED_US, i ? REJECT_EXPIRED : REJECT_NONE);
    }
    wire_answer(wire, "and p.ticket > $2 order by p.ticket limit", rows, 2);
    cr_assert(lookup_tickets(pg, &arena, &page, &err), "%s", err.text);
    expect_page_args(4);
    cr_assert_eq(page.n, 2);
    expect_status(&statuses[0], &(struct request_status){7, 70, true, 5, "r", ACCEPTED_US, ISSUED_US, REJECT_NONE});
    expect_status(&statuses[1], &(struct request_status){7, 71, true, 6, "r", ACCEPTED_US, NOT_ISSUED, REJECT_EXPIRED});
}

Test(lookup, the_newest_tickets_come_first_if_they_are_wanted) {
    struct request_status statuses[2];
    struct ticket_page page = {.coupon_id = 7, .newest = true, .room = 2, .statuses = statuses, .n = 9};
    struct err err = {0};
    cr_assert(lookup_tickets(pg, &arena, &page, &err), "%s", err.text);
    cr_expect_eq(wire_count(wire, "and p.ticket < $2 order by p.ticket desc limit"), 1);
    expect_page_args(INT64_MAX);
    cr_expect_eq(page.n, 0);
    page.after = 5;
    cr_assert(lookup_tickets(pg, &arena, &page, &err), "%s", err.text);
    expect_page_args(5);
}

static bool page_again(struct err *err) {
    struct request_status statuses[2];
    struct ticket_page page = {.coupon_id = 7, .room = 2, .statuses = statuses};
    return lookup_tickets(pg, &arena, &page, err);
}

Test(lookup, a_page_of_tickets_that_cannot_be_read_is_an_error) {
    expect_failures((const char *const[]){PAGE, NULL}, page_again);
}

/* --- users --- */

Test(lookup, a_page_of_users_ends_at_its_last_ticket_from_which_the_next_one_goes_on) {
    int64_t users[3] = {0};
    struct ledger_page page = {.coupon_id = 7, .after = 4, .room = 3, .users = users};
    struct pg_args *rows = new_rows(2), first = {0}, second = {0};
    struct err err = {0};
    for (int i = 0; i < 2; i++) {
        pg_arg_int8(&rows[i], &arena, 900 - i);
        pg_arg_int8(&rows[i], &arena, 5 + 4 * i);
    }
    wire_answer(wire, USERS, rows, 2);
    cr_assert(lookup_ledger_users(pg, &arena, &page, &err), "%s", err.text);
    pg_arg_int8(&first, &arena, 7);
    pg_arg_int8(&first, &arena, 4);
    pg_arg_int8(&first, &arena, 3);
    expect_args(USERS, &first);
    cr_expect_eq(page.n, 2);
    cr_expect_eq(users[0], 900);
    cr_expect_eq(users[1], 899);
    cr_expect_eq(users[2], 0);
    cr_expect_eq(page.after, 9);
    wire_answer(wire, USERS, NULL, 0);
    cr_assert(lookup_ledger_users(pg, &arena, &page, &err), "%s", err.text);
    pg_arg_int8(&second, &arena, 7);
    pg_arg_int8(&second, &arena, 9);
    pg_arg_int8(&second, &arena, 3);
    expect_args(USERS, &second);
    cr_expect_eq(page.n, 0);
    cr_expect_eq(page.after, 9, "an empty page leaves it as it is");
}

static bool users_again(struct err *err) {
    int64_t users[1];
    struct ledger_page page = {.coupon_id = 7, .after = 4, .room = 1, .users = users, .n = 99};
    bool ok = lookup_ledger_users(pg, &arena, &page, err);
    cr_expect_eq(page.n, ok ? 0 : 99);
    cr_expect_eq(page.after, 4);
    return ok;
}

Test(lookup, users_that_cannot_be_read_are_an_error_and_leave_the_page_as_it_is) {
    expect_failures((const char *const[]){USERS, NULL}, users_again);
}

/* --- users' coupons --- */

/* Answers each page with as many coupons as the user's id says. */
static const struct pg_args *coupons_of_user(void *arg, int connection, const struct wire_statement *statement,
                                             int *ret_n) {
    (void)connection;
    *ret_n = statement->args.values[0][7];
    return arg;
}

Test(lookup, the_greatest_number_of_pages_is_read_in_one_round_trip_each_into_its_own_page) {
    struct user_coupon_page pages[LOOKUP_PAGES_MAX];
    struct pg_args *rows = new_rows(LOOKUP_PAGES_MAX), last = {0};
    struct err err = {0};
    for (int i = 0; i < LOOKUP_PAGES_MAX; i++) {
        struct request_status *statuses = arena_zalloc(&arena, LOOKUP_PAGES_MAX * sizeof *statuses);
        pages[i] =
            (struct user_coupon_page){.user_id = i, .after = 100 + i, .room = 200U + (unsigned)i, .statuses = statuses};
        pg_arg_int8(&rows[i], &arena, 1000 + i);
        pg_arg_int8(&rows[i], &arena, 2000 + i);
        pg_arg_time(&rows[i], &arena, i == 1 ? NOT_ISSUED : ISSUED_US + i);
    }
    wire_answer_by(wire, COUPONS, coupons_of_user, rows);
    cr_assert(lookup_user_coupons(pg, &arena, pages, LOOKUP_PAGES_MAX, &err), "%s", err.text);
    for (int i = 0; i < LOOKUP_PAGES_MAX; i++) {
        cr_assert_eq(pages[i].n, (size_t)i);
        for (int j = 0; j < i; j++)
            expect_status(&pages[i].statuses[j],
                          &(struct request_status){.coupon_id = 1000 + j,
                                                   .user_id = i,
                                                   .found = true,
                                                   .ticket = 2000 + j,
                                                   .issue_us = j == 1 ? NOT_ISSUED : ISSUED_US + j});
    }
    pg_arg_int8(&last, &arena, LOOKUP_PAGES_MAX - 1);
    pg_arg_int8(&last, &arena, 100 + LOOKUP_PAGES_MAX - 1);
    pg_arg_int8(&last, &arena, 200 + LOOKUP_PAGES_MAX - 1);
    expect_args(COUPONS, &last);
    cr_expect_eq(wire_count(wire, COUPONS), LOOKUP_PAGES_MAX);
}

Test(lookup, no_pages_need_no_round_trip_and_cost_no_connection) {
    struct err err = {0};
    cr_assert(lookup_user_coupons(pg, &arena, NULL, 0, &err), "%s", err.text);
    cr_expect(pg_is_connected(pg));
    cr_expect_eq(wire_count(wire, COUPONS), 0);
}

static bool coupons_again(struct err *err) {
    struct request_status status;
    struct user_coupon_page pages[] = {{.user_id = 1, .room = 1, .statuses = &status, .n = 99},
                                       {.user_id = 0, .room = 1, .statuses = &status, .n = 99}};
    bool ok = lookup_user_coupons(pg, &arena, pages, 2, err);
    cr_expect_eq(pages[0].n, ok ? 0 : 99);
    cr_expect_eq(pages[1].n, ok ? 0 : 99);
    return ok;
}

Test(lookup, coupons_that_cannot_be_read_are_an_error_and_leave_the_pages_as_they_are) {
    expect_failures((const char *const[]){COUPONS, NULL}, coupons_again);
}

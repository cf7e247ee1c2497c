/* SPDX-License-Identifier: Apache-2.0 */
#include "store/lookup.h"

/* Reads a status from four columns, which begin with `column`: request_id, accept_time, issue_time, reason. */
static void read_status(const PGresult *result, int at, int column, struct arena *arena,
                        struct request_status *status) {
    status->found = true;
    status->request_id = arena_strdup(arena, PQgetvalue(result, at, column));
    status->accept_us = pg_time(result, at, column + 1, 0);
    status->issue_us = pg_time(result, at, column + 2, NOT_ISSUED);
    status->reject_reason =
        PQgetisnull(result, at, column + 3) ? REJECT_NONE : (enum reject_reason)pg_int2(result, at, column + 3);
}

bool lookup_statuses(struct pg *pg, struct arena *arena, struct request_status *statuses, size_t n, struct err *err) {
    static const struct pg_statement read = {
        "select i.n, p.ticket, p.request_id, p.accept_time, u.issue_time, r.reason"
        " from unnest($1::bigint[], $2::bigint[]) with ordinality i(coupon_id, user_id, n)"
        " cross join lateral (select * from publish_request"
        "  where coupon_id = i.coupon_id and user_id = i.user_id limit 1) p"
        " left join lateral (select case when last_ticket >= p.ticket then issue_time end as issue_time from issued"
        "  where coupon_id = i.coupon_id and first_ticket <= p.ticket order by first_ticket desc limit 1) u on true"
        " left join lateral (select reason from rejection"
        "  where coupon_id = i.coupon_id and ticket = p.ticket limit 1) r on true"};
    int64_t *coupon_ids = ARENA_ARRAY(arena, int64_t, n), *user_ids = ARENA_ARRAY(arena, int64_t, n);
    for (size_t i = 0; i < n; i++) {
        coupon_ids[i] = statuses[i].coupon_id;
        user_ids[i] = statuses[i].user_id;
        statuses[i] =
            (struct request_status){.coupon_id = coupon_ids[i], .user_id = user_ids[i], .issue_us = NOT_ISSUED};
    }
    struct pg_args args = {0};
    pg_arg_int8s(&args, arena, coupon_ids, n);
    pg_arg_int8s(&args, arena, user_ids, n);
    PGresult *result;
    pg_send(pg, &read, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    for (int i = 0; i < PQntuples(result); i++) {
        struct request_status *status = &statuses[pg_int8(result, i, 0) - 1];
        status->ticket = pg_int8(result, i, 1);
        read_status(result, i, 2, arena, status);
    }
    pg_clear(&result, 1);
    return true;
}

bool lookup_ticket(struct pg *pg, struct arena *arena, struct request_status *status, struct err *err) {
    static const struct pg_statement read = {
        "select p.user_id, p.request_id, p.accept_time, u.issue_time, r.reason from publish_request p"
        " left join lateral (select case when last_ticket >= p.ticket then issue_time end as issue_time from issued"
        "  where coupon_id = p.coupon_id and first_ticket <= p.ticket order by first_ticket desc limit 1) u on true"
        " left join rejection r on r.coupon_id = p.coupon_id and r.ticket = p.ticket"
        " where p.coupon_id = $1 and p.ticket = $2"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, status->coupon_id);
    pg_arg_int8(&args, arena, status->ticket);
    PGresult *result;
    pg_send(pg, &read, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    *status = (struct request_status){.coupon_id = status->coupon_id, .ticket = status->ticket, .issue_us = NOT_ISSUED};
    if (PQntuples(result) == 1) {
        status->user_id = pg_int8(result, 0, 0);
        read_status(result, 0, 1, arena, status);
    }
    pg_clear(&result, 1);
    return true;
}

bool lookup_ledger_users(struct pg *pg, struct arena *arena, struct ledger_page *page, struct err *err) {
    static const struct pg_statement read = {
        "select user_id, ticket from publish_request where coupon_id = $1 and ticket > $2 order by ticket limit $3"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, page->coupon_id);
    pg_arg_int8(&args, arena, page->after);
    pg_arg_int8(&args, arena, (int64_t)page->room);
    PGresult *result;
    pg_send(pg, &read, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    page->n = (size_t)PQntuples(result);
    for (int i = 0; i < PQntuples(result); i++)
        page->users[i] = pg_int8(result, i, 0);
    if (page->n > 0)
        page->after = pg_int8(result, (int)page->n - 1, 1);
    pg_clear(&result, 1);
    return true;
}

#define TICKETS                                                                                                        \
    "select p.ticket, p.user_id, p.request_id, p.accept_time, u.issue_time, r.reason from publish_request p"           \
    " left join lateral (select case when last_ticket >= p.ticket then issue_time end as issue_time from issued"       \
    "  where coupon_id = p.coupon_id and first_ticket <= p.ticket order by first_ticket desc limit 1) u on true"       \
    " left join rejection r on r.coupon_id = p.coupon_id and r.ticket = p.ticket where p.coupon_id = $1"

bool lookup_tickets(struct pg *pg, struct arena *arena, struct ticket_page *page, struct err *err) {
    static const struct pg_statement upwards = {TICKETS " and p.ticket > $2 order by p.ticket limit $3"};
    static const struct pg_statement downwards = {TICKETS " and p.ticket < $2 order by p.ticket desc limit $3"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, page->coupon_id);
    pg_arg_int8(&args, arena, page->newest && page->after == 0 ? INT64_MAX : page->after);
    pg_arg_int8(&args, arena, (int64_t)page->room);
    PGresult *result;
    pg_send(pg, page->newest ? &downwards : &upwards, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    page->n = (size_t)PQntuples(result);
    for (int i = 0; i < PQntuples(result); i++) {
        struct request_status *status = &page->statuses[i];
        *status = (struct request_status){
            .coupon_id = page->coupon_id, .ticket = pg_int8(result, i, 0), .user_id = pg_int8(result, i, 1)};
        read_status(result, i, 2, arena, status);
    }
    pg_clear(&result, 1);
    return true;
}

static void read_page(const PGresult *result, struct user_coupon_page *page) {
    page->n = (size_t)PQntuples(result);
    for (int i = 0; i < PQntuples(result); i++)
        page->statuses[i] = (struct request_status){
            .coupon_id = pg_int8(result, i, 0),
            .user_id = page->user_id,
            .found = true,
            .ticket = pg_int8(result, i, 1),
            .issue_us = pg_time(result, i, 2, NOT_ISSUED),
        };
}

bool lookup_user_coupons(struct pg *pg, struct arena *arena, struct user_coupon_page *pages, size_t n,
                         struct err *err) {
    static const struct pg_statement read = {
        "select coupon_id, ticket, issue_time from user_coupon where user_id = $1 and coupon_id > $2"
        " order by coupon_id limit $3"};
    PGresult *results[LOOKUP_PAGES_MAX];
    if (n == 0)
        return true; /* there is nothing to collect */
    for (size_t i = 0; i < n; i++) {
        struct pg_args args = {0};
        pg_arg_int8(&args, arena, pages[i].user_id);
        pg_arg_int8(&args, arena, pages[i].after);
        pg_arg_int8(&args, arena, (int64_t)pages[i].room);
        pg_send(pg, &read, &args);
    }
    if (!pg_collect(pg, results, (int)n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        read_page(results[i], &pages[i]);
    pg_clear(results, (int)n);
    return true;
}

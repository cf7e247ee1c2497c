/* SPDX-License-Identifier: Apache-2.0 */
#include "store/coupons.h"

#include <string.h>

#include "base/fault.h"
#include "base/murmur2.h"
#include "store/coupon_rows.h"

#define DETAIL_COLUMNS                                                                                                 \
    "c.id, c.status, c.frozen, c.open_time, c.expire_time, c.version, a.quantity, a.accepted, s.issued, s.rejected,"   \
    " s.highest, c.name, c.discount_rate, c.create_time"
#define DETAIL_FROM " from coupon c join admission a on a.coupon_id = c.id join issuance s on s.coupon_id = c.id"

static bool query(struct pg *pg, const struct pg_statement *statement, const struct pg_args *args,
                  PGresult **ret_result, struct err *err) {
    pg_send(pg, statement, args);
    return pg_collect(pg, ret_result, 1, err);
}

static bool run(struct pg *pg, const struct pg_statement *statement, const struct pg_args *args, int *ret_rows,
                struct err *err) {
    PGresult *result;
    if (!query(pg, statement, args, &result, err))
        return false;
    if (ret_rows)
        *ret_rows = PQntuples(result);
    pg_clear(&result, 1);
    return true;
}

static void read_detail(const PGresult *result, int row, struct arena *arena, struct coupon_detail *ret) {
    *ret = (struct coupon_detail){
        .row = coupon_row_read(result, row, pg_int8(result, row, 0)),
        .name = arena_strdup(arena, PQgetvalue(result, row, 11)),
        .discount_rate = pg_float8(result, row, 12),
        .create_us = pg_time(result, row, 13, 0),
    };
}

enum coupon_outcome coupon_get(struct pg *pg, struct arena *arena, int64_t id, struct coupon_detail *ret,
                               struct err *err) {
    static const struct pg_statement get = {"select " DETAIL_COLUMNS DETAIL_FROM " where c.id = $1"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, id);
    PGresult *result;
    if (!query(pg, &get, &args, &result, err))
        return COUPON_FAILED;
    bool found = PQntuples(result) == 1;
    if (found)
        read_detail(result, 0, arena, ret);
    pg_clear(&result, 1);
    return found ? COUPON_OK : COUPON_MISSING;
}

static bool list(struct pg *pg, struct arena *arena, const struct pg_statement *statement, struct coupon_page *page,
                 struct err *err) {
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, page->after);
    pg_arg_int8(&args, arena, (int64_t)page->room);
    PGresult *result;
    if (!query(pg, statement, &args, &result, err))
        return false;
    page->n = (size_t)PQntuples(result);
    for (int row = 0; row < PQntuples(result); row++)
        read_detail(result, row, arena, &page->coupons[row]);
    pg_clear(&result, 1);
    return true;
}

bool coupon_list(struct pg *pg, struct arena *arena, struct coupon_page *page, struct err *err) {
    static const struct pg_statement upwards = {"select " DETAIL_COLUMNS DETAIL_FROM
                                                " where c.id > $1 order by c.id limit $2"};
    return list(pg, arena, &upwards, page, err);
}

bool coupon_list_newest(struct pg *pg, struct arena *arena, struct coupon_page *page, struct err *err) {
    static const struct pg_statement downwards = {"select " DETAIL_COLUMNS DETAIL_FROM
                                                  " where $1 = 0 or c.id < $1 order by c.id desc limit $2"};
    return list(pg, arena, &downwards, page, err);
}

bool coupon_now(struct pg *pg, int64_t *ret_now_us, struct err *err) {
    static const struct pg_statement clock = {"select clock_timestamp()"};
    PGresult *result;
    if (!query(pg, &clock, NULL, &result, err))
        return false;
    *ret_now_us = pg_time(result, 0, 0, 0);
    pg_clear(&result, 1);
    return true;
}

/* --- changes, each in a transaction --- */

static bool begin(struct pg *pg, struct arena *arena, int lanes, int64_t id, struct err *err) {
    static const struct pg_statement lock = {"select pg_advisory_xact_lock($1)"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, pg_lock_key(pg, PG_LOCK_ADMIT, murmur2_slot_of_id(id, lanes)));
    return run(pg, &pg_begin, NULL, NULL, err) && run(pg, &lock, &args, NULL, err);
}

/* Commits if the outcome is COUPON_OK, and rolls back otherwise. */
static enum coupon_outcome end(struct pg *pg, enum coupon_outcome outcome, struct err *err) {
    if (outcome == COUPON_OK) {
        FAULT_POINT("admin", "before_commit");
        bool committed = run(pg, &pg_commit, NULL, NULL, err);
        FAULT_POINT("admin", "after_commit");
        return committed ? COUPON_OK : COUPON_FAILED;
    }
    if (pg_is_connected(pg))
        run(pg, &pg_rollback, NULL, NULL, NULL);
    return outcome;
}

struct admin_request {
    const char *id; /* "": the request has none, and a repeat is not recognized */
    const char *kind;
    int64_t coupon_id, quantity;
};

/* Claims the request's id for this change. *ret_done_id: the coupon of an earlier, equal request, or 0 if this is the
 * first request with this id. */
static enum coupon_outcome claim(struct pg *pg, struct arena *arena, const struct admin_request *request,
                                 int64_t *ret_done_id, struct err *err) {
    static const struct pg_statement insert = {
        "insert into admin_request (request_id, kind, coupon_id, quantity, create_time)"
        " values ($1, $2, $3, $4, clock_timestamp()) on conflict do nothing returning 1"};
    static const struct pg_statement read = {
        "select coupon_id, quantity, kind = $2 from admin_request where request_id = $1"};
    *ret_done_id = 0;
    if (!*request->id)
        return COUPON_OK;
    struct pg_args args = {0}, read_args = {0};
    pg_arg_text(&args, request->id);
    pg_arg_text(&args, request->kind);
    read_args = args;
    pg_arg_int8(&args, arena, request->coupon_id);
    pg_arg_int8(&args, arena, request->quantity);
    int inserted;
    if (!run(pg, &insert, &args, &inserted, err))
        return COUPON_FAILED;
    if (inserted)
        return COUPON_OK;
    PGresult *result;
    if (!query(pg, &read, &read_args, &result, err))
        return COUPON_FAILED;
    bool same = PQntuples(result) == 1 && pg_bool(result, 0, 2) && pg_int8(result, 0, 1) == request->quantity;
    if (same)
        *ret_done_id = pg_int8(result, 0, 0);
    pg_clear(&result, 1);
    return same ? COUPON_OK : COUPON_REQUEST_REUSED;
}

static bool next_id(struct pg *pg, int64_t *ret_id, struct err *err) {
    /* Skips ids that callers have chosen. */
    static const struct pg_statement next = {
        "with recursive n(id) as (select nextval('coupon_id_seq') union all"
        " select nextval('coupon_id_seq') from n where exists (select 1 from coupon c where c.id = n.id))"
        " select max(id) from n"};
    PGresult *result;
    if (!query(pg, &next, NULL, &result, err))
        return false;
    *ret_id = pg_int8(result, 0, 0);
    pg_clear(&result, 1);
    return true;
}

static enum coupon_outcome insert_coupon(struct pg *pg, struct arena *arena, const struct coupon_detail *detail,
                                         struct err *err) {
    static const struct pg_statement coupon = {
        "insert into coupon (id, name, quantity, status, discount_rate, open_time, expire_time, create_time)"
        " values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp()) on conflict do nothing returning 1"};
    static const struct pg_statement admission = {"insert into admission (coupon_id, quantity) values ($1, $2)"};
    static const struct pg_statement issuance = {"insert into issuance (coupon_id, quantity) values ($1, $2)"};
    struct pg_args args = {0}, counts = {0};
    pg_arg_int8(&args, arena, detail->row.id);
    pg_arg_text(&args, detail->name);
    pg_arg_int8(&args, arena, detail->row.quantity);
    pg_arg_int2(&args, arena, (int16_t)detail->row.status);
    pg_arg_float8(&args, arena, detail->discount_rate);
    pg_arg_time(&args, arena, detail->row.open_us);
    pg_arg_time(&args, arena, detail->row.expire_us);
    pg_arg_int8(&counts, arena, detail->row.id);
    pg_arg_int8(&counts, arena, detail->row.quantity);
    int inserted;
    if (!run(pg, &coupon, &args, &inserted, err))
        return COUPON_FAILED;
    if (!inserted)
        return COUPON_EXISTS;
    return run(pg, &admission, &counts, NULL, err) && run(pg, &issuance, &counts, NULL, err) ? COUPON_OK
                                                                                             : COUPON_FAILED;
}

enum coupon_outcome coupon_create(struct pg *pg, struct arena *arena, int lanes, const char *request_id,
                                  struct coupon_detail *detail, struct err *err) {
    int64_t asked_id = detail->row.id, done_id = 0;
    if (asked_id == 0 && !next_id(pg, &detail->row.id, err))
        return COUPON_FAILED;
    if (!begin(pg, arena, lanes, detail->row.id, err))
        return COUPON_FAILED;
    const struct admin_request request = {request_id, "create", detail->row.id, detail->row.quantity};
    enum coupon_outcome outcome = claim(pg, arena, &request, &done_id, err);
    if (outcome == COUPON_OK && done_id && asked_id && done_id != asked_id)
        outcome = COUPON_REQUEST_REUSED;
    if (outcome == COUPON_OK && !done_id)
        outcome = insert_coupon(pg, arena, detail, err);
    if (outcome == COUPON_OK)
        outcome = coupon_get(pg, arena, done_id ? done_id : detail->row.id, detail, err);
    return end(pg, outcome, err);
}

enum coupon_outcome coupon_set_status(struct pg *pg, struct arena *arena, int lanes, enum coupon_status status,
                                      struct coupon_detail *detail, struct err *err) {
    static const struct pg_statement set = {
        "update coupon set status = $2, version = version + 1 where id = $1 and status <> $2"};
    int64_t id = detail->row.id;
    if (!begin(pg, arena, lanes, id, err))
        return COUPON_FAILED;
    enum coupon_outcome outcome = coupon_get(pg, arena, id, detail, err);
    if (outcome == COUPON_OK && detail->row.status == COUPON_CLOSED && status != COUPON_CLOSED)
        outcome = COUPON_IS_CLOSED;
    if (outcome == COUPON_OK) {
        struct pg_args args = {0};
        pg_arg_int8(&args, arena, id);
        pg_arg_int2(&args, arena, (int16_t)status);
        outcome = run(pg, &set, &args, NULL, err) ? coupon_get(pg, arena, id, detail, err) : COUPON_FAILED;
    }
    return end(pg, outcome, err);
}

static enum coupon_outcome add(struct pg *pg, struct arena *arena, int64_t id, int64_t quantity, struct err *err) {
    static const struct pg_statement add_to[] = {
        {"update coupon set quantity = quantity + $2, version = version + 1 where id = $1"},
        {"update admission set quantity = quantity + $2 where coupon_id = $1"},
        {"update issuance set quantity = quantity + $2 where coupon_id = $1"},
    };
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, id);
    pg_arg_int8(&args, arena, quantity);
    for (size_t i = 0; i < sizeof add_to / sizeof add_to[0]; i++)
        if (!run(pg, &add_to[i], &args, NULL, err))
            return COUPON_FAILED;
    return COUPON_OK;
}

enum coupon_outcome coupon_add_quantity(struct pg *pg, struct arena *arena, int lanes,
                                        const struct coupon_addition *addition, struct coupon_detail *ret,
                                        struct err *err) {
    const struct admin_request request = {addition->request_id, "add", addition->coupon_id, addition->quantity};
    int64_t done_id, now_us, id = addition->coupon_id;
    if (!coupon_now(pg, &now_us, err) || !begin(pg, arena, lanes, id, err))
        return COUPON_FAILED;
    enum coupon_outcome outcome = coupon_get(pg, arena, id, ret, err);
    if (outcome == COUPON_OK)
        outcome = claim(pg, arena, &request, &done_id, err);
    if (outcome == COUPON_OK && done_id && done_id != id)
        outcome = COUPON_REQUEST_REUSED;
    if (outcome == COUPON_OK && !done_id) {
        if (ret->row.status == COUPON_CLOSED)
            outcome = COUPON_IS_CLOSED;
        else if (now_us >= ret->row.expire_us)
            outcome = COUPON_IS_EXPIRED;
        else
            outcome = add(pg, arena, id, addition->quantity, err);
        if (outcome == COUPON_OK)
            outcome = coupon_get(pg, arena, id, ret, err);
    }
    return end(pg, outcome, err);
}

enum coupon_outcome coupon_freeze(struct pg *pg, struct arena *arena, int lanes, int64_t id, struct err *err) {
    static const struct pg_statement freeze = {
        "update coupon set frozen = true, version = version + 1 where id = $1 and not frozen"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, id);
    if (!begin(pg, arena, lanes, id, err))
        return COUPON_FAILED;
    return end(pg, run(pg, &freeze, &args, NULL, err) ? COUPON_OK : COUPON_FAILED, err);
}

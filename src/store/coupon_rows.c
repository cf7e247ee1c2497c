/* SPDX-License-Identifier: Apache-2.0 */
#include "store/coupon_rows.h"

#include "store/newest.h"

static const struct pg_statement read_coupons = {
    "select i.n, c.status, c.frozen, c.open_time, c.expire_time, c.version,"
    " a.quantity, a.accepted, s.issued, s.rejected, s.highest"
    " from unnest($1::bigint[]) with ordinality i(coupon_id, n)"
    " cross join lateral (select * from coupon where id = i.coupon_id limit 1) c"
    " cross join lateral (select * from admission" NEWEST_OF_COUPON ") a"
    " cross join lateral (select * from issuance" NEWEST_OF_COUPON ") s"};

void coupon_rows_send_read(struct pg *pg, struct arena *arena, const int64_t *ids, size_t n) {
    struct pg_args args = {0};
    pg_arg_int8s(&args, arena, ids, n);
    pg_send(pg, &read_coupons, &args);
}

struct coupon coupon_row_read(const PGresult *result, int row, int64_t id) {
    return (struct coupon){
        .id = id,
        .exists = true,
        .status = (enum coupon_status)pg_int2(result, row, 1),
        .frozen = pg_bool(result, row, 2),
        .open_us = pg_time(result, row, 3, TIME_OPEN_START),
        .expire_us = pg_time(result, row, 4, TIME_OPEN_END),
        .version = pg_int8(result, row, 5),
        .quantity = pg_int8(result, row, 6),
        .accepted = pg_int8(result, row, 7),
        .issued = pg_int8(result, row, 8),
        .rejected = pg_int8(result, row, 9),
        .highest = pg_int8(result, row, 10),
    };
}

void coupon_rows_read(const PGresult *result, struct coupon *coupons) {
    for (int row = 0; row < PQntuples(result); row++) {
        struct coupon *coupon = &coupons[pg_int8(result, row, 0) - 1];
        *coupon = coupon_row_read(result, row, coupon->id);
    }
}

bool coupon_rows_load(struct pg *pg, struct arena *arena, struct coupon *coupons, size_t n, int64_t *ret_now_us,
                      struct err *err) {
    static const struct pg_statement clock = {"select clock_timestamp()"};
    int64_t *ids = ARENA_ARRAY(arena, int64_t, n);
    for (size_t i = 0; i < n; i++) {
        ids[i] = coupons[i].id;
        coupons[i] = (struct coupon){.id = ids[i]};
    }
    PGresult *results[2];
    coupon_rows_send_read(pg, arena, ids, n);
    pg_send(pg, &clock, NULL);
    if (!pg_collect(pg, results, 2, err))
        return false;
    coupon_rows_read(results[0], coupons);
    *ret_now_us = pg_time(results[1], 0, 0, 0);
    pg_clear(results, 2);
    return true;
}

bool coupon_rows_exist(struct pg *pg, struct arena *arena, const int64_t *ids, size_t n, bool *ret_exist,
                       struct err *err) {
    static const struct pg_statement read = {"select i.n from unnest($1::bigint[]) with ordinality i(id, n)"
                                             " cross join lateral (select 1 from coupon where id = i.id limit 1) c"};
    struct pg_args args = {0};
    PGresult *result;
    pg_arg_int8s(&args, arena, ids, n);
    pg_send(pg, &read, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    for (size_t i = 0; i < n; i++)
        ret_exist[i] = false;
    for (int row = 0; row < PQntuples(result); row++)
        ret_exist[pg_int8(result, row, 0) - 1] = true;
    pg_clear(&result, 1);
    return true;
}

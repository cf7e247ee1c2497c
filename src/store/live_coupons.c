/* SPDX-License-Identifier: Apache-2.0 */
#include "store/live_coupons.h"

static bool run(struct pg *pg, const struct pg_statement *statement, const struct pg_args *args, PGresult **ret_result,
                struct err *err) {
    pg_send(pg, statement, args);
    return pg_collect(pg, ret_result, 1, err);
}

static bool list(struct pg *pg, struct arena *arena, const struct pg_statement *statement, struct coupon_ids *ids,
                 struct err *err) {
    struct pg_args args = {0};
    PGresult *result;
    pg_arg_int8(&args, arena, ids->after);
    pg_arg_int8(&args, arena, (int64_t)ids->room);
    if (!run(pg, statement, &args, &result, err))
        return false;
    ids->n = (size_t)PQntuples(result);
    for (int row = 0; row < PQntuples(result); row++) {
        ids->id[row] = pg_int8(result, row, 0);
        if (PQnfields(result) > 1)
            ids->changes[row] = pg_int8(result, row, 1);
    }
    pg_clear(&result, 1);
    return true;
}

bool live_coupons_list(struct pg *pg, struct arena *arena, struct coupon_ids *ids, struct err *err) {
    static const struct pg_statement live = {
        "select coupon_id, changes from live_coupon where coupon_id > $1 order by coupon_id limit $2"};
    return list(pg, arena, &live, ids, err);
}

bool live_coupons_list_all(struct pg *pg, struct arena *arena, struct coupon_ids *ids, struct err *err) {
    static const struct pg_statement all = {"select id from coupon where id > $1 order by id limit $2"};
    return list(pg, arena, &all, ids, err);
}

bool live_coupons_add(struct pg *pg, struct arena *arena, const int64_t *ids, size_t n, struct err *err) {
    static const struct pg_statement add = {
        "insert into live_coupon (coupon_id) select i from unnest($1::bigint[]) i on conflict do nothing"};
    struct pg_args args = {0};
    PGresult *result;
    pg_arg_int8s(&args, arena, ids, n);
    if (n == 0)
        return true;
    if (!run(pg, &add, &args, &result, err))
        return false;
    pg_clear(&result, 1);
    return true;
}

bool live_coupons_remove(struct pg *pg, struct arena *arena, const struct coupon_ids *ended, struct err *err) {
    static const struct pg_statement remove = {
        "delete from live_coupon where coupon_id in"
        " (select l.coupon_id from unnest($1::bigint[], $2::bigint[]) i(id, changes)"
        "  join live_coupon l on l.coupon_id = i.id and l.changes = i.changes for update of l skip locked)"};
    struct pg_args args = {0};
    PGresult *result;
    pg_arg_int8s(&args, arena, ended->id, ended->n);
    pg_arg_int8s(&args, arena, ended->changes, ended->n);
    if (ended->n == 0)
        return true;
    if (!run(pg, &remove, &args, &result, err))
        return false;
    pg_clear(&result, 1);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/audit.h"

bool audit_coupon(struct pg *pg, struct arena *arena, int64_t coupon_id, struct audit *ret, struct err *err) {
    static const struct pg_statement count = {
        "select count(*), coalesce(max(ticket), 0),"
        " (select coalesce(sum(last_ticket - first_ticket + 1), 0)::bigint from issued where coupon_id = $1),"
        " (select quantity from issuance where coupon_id = $1)"
        " from publish_request where coupon_id = $1"};
    /* One coupon has a small share of all rows, even if stale statistics of a growing table suggest a full scan. */
    static const struct pg_statement by_index = {"set local enable_seqscan = off"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, coupon_id);
    PGresult *results[4];
    pg_send(pg, &pg_begin, NULL);
    pg_send(pg, &by_index, NULL);
    pg_send(pg, &count, &args);
    pg_send(pg, &pg_commit, NULL);
    if (!pg_collect(pg, results, 4, err))
        return false;
    PGresult *result = results[2];
    *ret = (struct audit){
        .ledger_rows = pg_int8(result, 0, 0),
        .max_ticket = pg_int8(result, 0, 1),
        .held = pg_int8(result, 0, 2),
        .quantity = PQgetisnull(result, 0, 3) ? 0 : pg_int8(result, 0, 3),
    };
    pg_clear(results, 4);
    return true;
}

bool audit_unissued(struct pg *pg, struct arena *arena, struct unissued_tickets *unissued, struct err *err) {
    /* Looks for the gaps between the issued ranges, which are few, instead of for each ticket. `r` begins with the
     * range that covers $2. The rows come in the order of the gaps, and by ticket within each gap. */
    static const struct pg_statement find = {
        "with r as materialized (select first_ticket, last_ticket from issued"
        "  where coupon_id = $1 and first_ticket <= $3"
        "  and first_ticket >= coalesce((select max(first_ticket) from issued"
        "   where coupon_id = $1 and first_ticket <= $2), 0)),"
        " g as (select greatest(coalesce(max(last_ticket) over (order by first_ticket"
        "   rows between unbounded preceding and 1 preceding), $2), $2) + 1 as first, first_ticket - 1 as last from r"
        "  union all select greatest((select max(last_ticket) from r), $2) + 1, $3)"
        " select p.user_id, p.ticket, p.request_id, p.accept_time"
        " from (select * from g where first <= last order by first) g cross join lateral"
        " (select user_id, ticket, request_id, accept_time from publish_request q where q.coupon_id = $1"
        "  and q.ticket between g.first and g.last and not exists"
        "  (select from rejection j where j.coupon_id = $1 and j.ticket = q.ticket) order by q.ticket limit $4) p"
        " limit $4"};
    /* One coupon has a small share of all rows, even if stale statistics of a growing table suggest a full scan. */
    static const struct pg_statement by_index = {"set local enable_seqscan = off"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, unissued->coupon_id);
    pg_arg_int8(&args, arena, unissued->after);
    pg_arg_int8(&args, arena, unissued->to);
    pg_arg_int8(&args, arena, (int64_t)unissued->room);
    PGresult *results[4];
    pg_send(pg, &pg_begin, NULL);
    pg_send(pg, &by_index, NULL);
    pg_send(pg, &find, &args);
    pg_send(pg, &pg_commit, NULL);
    if (!pg_collect(pg, results, 4, err))
        return false;
    PGresult *result = results[2];
    unissued->n = (size_t)PQntuples(result);
    for (int row = 0; row < PQntuples(result); row++)
        unissued->statuses[row] = (struct request_status){
            .coupon_id = unissued->coupon_id,
            .user_id = pg_int8(result, row, 0),
            .found = true,
            .ticket = pg_int8(result, row, 1),
            .request_id = arena_strdup(arena, PQgetvalue(result, row, 2)),
            .accept_us = pg_time(result, row, 3, 0),
            .issue_us = NOT_ISSUED,
        };
    pg_clear(results, 4);
    return true;
}

bool audit_oldest_snapshot(struct pg *pg, int64_t *ret_xmin, struct err *err) {
    /* Every role may see these columns of others. Sessions without a database are those of standbys. */
    static const struct pg_statement oldest = {
        "select coalesce((select x::text::bigint from (select backend_xmin from pg_stat_activity"
        "   where pid <> pg_backend_pid() and (datname = current_database() or datname is null)"
        "   and backend_type is distinct from 'autovacuum worker'"
        "  union all select xmin from pg_replication_slots"
        "  union all select transaction from pg_prepared_xacts where database = current_database()) s(x)"
        " where age(x) > 1000 order by age(x) desc limit 1), 0)"};
    PGresult *result;
    pg_send(pg, &oldest, NULL);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    *ret_xmin = pg_int8(result, 0, 0);
    pg_clear(&result, 1);
    return true;
}

bool audit_take_lock(struct pg *pg, bool *ret_own, struct err *err) {
    static const struct pg_statement held = {
        "select exists (select 1 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and granted"
        " and objsubid = 1 and (classid::bigint << 32 | objid::bigint) = $1) or pg_try_advisory_lock($1)"};
    struct arena arena;
    arena_init(&arena, 256);
    struct pg_args args = {0};
    pg_arg_int8(&args, &arena, pg_lock_key(pg, PG_LOCK_RECONCILE, 0));
    PGresult *result;
    pg_send(pg, &held, &args);
    bool ok = pg_collect(pg, &result, 1, err);
    if (ok) {
        *ret_own = pg_bool(result, 0, 0);
        pg_clear(&result, 1);
    }
    arena_deinit(&arena);
    return ok;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/admission.h"

#include <string.h>

#include "base/fault.h"
#include "store/newest.h"

static void send_ledger(struct pg *pg, struct arena *arena, const int64_t *coupon_ids, const int64_t *user_ids,
                        size_t n) {
    static const struct pg_statement ledger = {
        "select i.n from unnest($1::bigint[], $2::bigint[]) with ordinality i(coupon_id, user_id, n) cross join lateral"
        " (select 1 from publish_request where coupon_id = i.coupon_id and user_id = i.user_id limit 1) p"};
    struct pg_args args = {0};
    pg_arg_int8s(&args, arena, coupon_ids, n);
    pg_arg_int8s(&args, arena, user_ids, n);
    pg_send(pg, &ledger, &args);
}

/* A failed transaction may leave wrong coupons in the cache. */
static bool failed(const struct admission_batch *batch) {
    coupon_cache_forget(batch->cache);
    return false;
}

static struct locked_coupons locked_coupons(const struct admission_batch *batch) {
    return (struct locked_coupons){.heads = &batch->heads, .coupons = batch->coupons, .n = batch->n_coupons};
}

bool admission_read(struct pg *pg, struct arena *arena, int lanes, struct admission_batch *batch, bool with_ledger,
                    struct err *err) {
    int64_t *ids = ARENA_ARRAY(arena, int64_t, batch->n_coupons);
    for (size_t i = 0; i < batch->n_coupons; i++)
        ids[i] = batch->coupons[i].id;
    outbox_heads_init(&batch->heads, arena, ids, batch->n_coupons, lanes);

    enum { LOCK = 1, COUPONS = LOCK + OUTBOX_LOCK_STATEMENTS, STATEMENTS = COUPONS + 2 };
    pg_send(pg, &pg_begin, NULL);
    outbox_send_lock(pg, arena, STREAM_REQUESTED, &batch->heads);
    int ledger = COUPONS + coupon_cache_send_read(batch->cache, pg, arena, batch->coupons, batch->n_coupons);
    if (with_ledger)
        send_ledger(pg, arena, batch->coupon_id, batch->user_id, batch->n_asks);
    PGresult *results[STATEMENTS];
    int n = ledger + with_ledger;
    if (!pg_collect(pg, results, n, err))
        return failed(batch);
    outbox_read_lock(&results[LOCK], &batch->heads, &batch->segment, &batch->now_us);
    memset(batch->in_ledger, 0, batch->n_asks * sizeof *batch->in_ledger);
    for (int row = 0; with_ledger && row < PQntuples(results[ledger]); row++)
        batch->in_ledger[pg_int8(results[ledger], row, 0) - 1] = true;
    const struct locked_coupons coupons = locked_coupons(batch);
    bool ok = coupon_cache_read(batch->cache, pg, arena, results[COUPONS], &coupons, err);
    pg_clear(results, n);
    return ok || failed(batch);
}

bool admission_look_up(struct pg *pg, struct arena *arena, struct admission_batch *batch, const size_t *asks, size_t n,
                       struct err *err) {
    int64_t *coupon_ids = ARENA_ARRAY(arena, int64_t, n), *user_ids = ARENA_ARRAY(arena, int64_t, n);
    for (size_t i = 0; i < n; i++) {
        coupon_ids[i] = batch->coupon_id[asks[i]];
        user_ids[i] = batch->user_id[asks[i]];
    }
    PGresult *result;
    send_ledger(pg, arena, coupon_ids, user_ids, n);
    if (!pg_collect(pg, &result, 1, err))
        return failed(batch);
    for (int row = 0; row < PQntuples(result); row++)
        batch->in_ledger[asks[pg_int8(result, row, 0) - 1]] = true;
    pg_clear(&result, 1);
    return true;
}

bool admission_found_in_ledger(const struct err *err) {
    return strcmp(err->sqlstate, "23505") == 0; /* unique_violation */
}

bool admission_write(struct pg *pg, struct arena *arena, const struct admission_batch *batch,
                     const struct admission_rows *rows, const struct outbox_batch *outbox, struct err *err) {
    /* Its guard moves the counters of admission. */
    static const struct pg_statement insert = {
        "insert into publish_request (coupon_id, user_id, ticket, request_id, accept_time)"
        " select i.*, $5 from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) i"};
    struct pg_args insert_args = {0};
    pg_arg_int8s(&insert_args, arena, rows->coupon_id, rows->n);
    pg_arg_int8s(&insert_args, arena, rows->user_id, rows->n);
    pg_arg_int8s(&insert_args, arena, rows->ticket, rows->n);
    pg_arg_texts(&insert_args, arena, rows->request_id, rows->n);
    pg_arg_time(&insert_args, arena, batch->now_us);
    pg_send(pg, &insert, &insert_args);
    outbox_send_append(pg, arena, STREAM_REQUESTED, batch->segment, outbox, batch->now_us);
    pg_send(pg, &pg_commit, NULL);
    PGresult *results[2 + OUTBOX_APPEND_STATEMENTS];
    FAULT_POINT("admit", "before_commit");
    if (!pg_collect(pg, results, 2 + OUTBOX_APPEND_STATEMENTS, err))
        return failed(batch);
    FAULT_POINT("admit", "after_commit");
    pg_clear(results, 2 + OUTBOX_APPEND_STATEMENTS);
    const struct locked_coupons coupons = locked_coupons(batch);
    coupon_cache_keep(batch->cache, &coupons);
    return true;
}

void admission_abandon(struct pg *pg, const struct admission_batch *batch) {
    FAULT_POINT("admit", "before_rollback");
    const struct locked_coupons coupons = locked_coupons(batch);
    if (coupon_cache_roll_back(batch->cache, pg, &coupons))
        FAULT_POINT("admit", "after_rollback");
}

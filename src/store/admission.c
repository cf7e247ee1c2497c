/* SPDX-License-Identifier: Apache-2.0 */
#include "store/admission.h"

#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "store/newest.h"

/* A coupon that opens or expires within this time is not admitted by the remembered clock. It is longer than that clock
 * may differ from Postgres' clock. */
#define CLOCK_MARGIN_US US_PER_S
/* The remembered clock gains one part in this number, more than clocks drift apart. */
#define CLOCK_GAIN 10000

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

/* Learns that Postgres' clock was at_us some time after sent_us (monotonic). */
static void remember(const struct admission_batch *batch, int64_t last_us, int64_t at_us, int64_t sent_us) {
    struct admission_memory *memory = batch->memory;
    if (!memory)
        return;
    int64_t gained_us = memory->ahead_us + (sent_us - memory->learned_us) / CLOCK_GAIN;
    int64_t least_us = at_us - clock_mono_us(), most_us = at_us - sent_us;
    bool holds = memory->is_known && gained_us >= least_us && gained_us < most_us;
    *memory = (struct admission_memory){
        .is_known = true,
        .segment = batch->segment,
        .ahead_us = holds ? gained_us : most_us,
        .learned_us = sent_us,
        .last_us = last_us,
    };
}

/* Collects the distinct lanes of the batch's coupons. */
static void init_heads(struct admission_batch *batch, struct arena *arena, int lanes) {
    int64_t *ids = ARENA_ARRAY(arena, int64_t, batch->n_coupons);
    for (size_t i = 0; i < batch->n_coupons; i++)
        ids[i] = batch->coupons[i].id;
    outbox_heads_init(&batch->heads, arena, ids, batch->n_coupons, lanes);
}

bool admission_read(struct pg *pg, struct arena *arena, int lanes, struct admission_batch *batch, bool with_ledger,
                    struct err *err) {
    init_heads(batch, arena, lanes);
    int64_t sent_us = clock_mono_us();

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
    remember(batch, batch->now_us, batch->now_us, sent_us);
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

/* Returns the number of coupons, each with its count of accepted requests. */
static size_t arg_counts(struct pg_args *args, struct arena *arena, const struct admission_batch *batch) {
    int64_t *ids = ARENA_ARRAY(arena, int64_t, batch->n_coupons);
    int64_t *accepted = ARENA_ARRAY(arena, int64_t, batch->n_coupons);
    size_t n = 0;
    for (size_t i = 0; i < batch->n_coupons; i++)
        if (batch->coupons[i].exists) {
            ids[n] = batch->coupons[i].id;
            accepted[n++] = batch->coupons[i].accepted;
        }
    pg_arg_int8s(args, arena, ids, n);
    pg_arg_int8s(args, arena, accepted, n);
    return n;
}

static void arg_ledger(struct pg_args *args, struct arena *arena, const struct admission_rows *rows) {
    pg_arg_int8s(args, arena, rows->coupon_id, rows->n);
    pg_arg_int8s(args, arena, rows->user_id, rows->n);
    pg_arg_int8s(args, arena, rows->ticket, rows->n);
    pg_arg_texts(args, arena, rows->request_id, rows->n);
}

bool admission_write(struct pg *pg, struct arena *arena, const struct admission_batch *batch,
                     const struct admission_rows *rows, const struct outbox_batch *outbox, struct err *err) {
    /* The ledger's trigger has locked the rows. */
    static const struct pg_statement count = {
        "update admission a set accepted = i.accepted from unnest($1::bigint[], $2::bigint[]) i(coupon_id, accepted)"
        " where a.ctid = (select ctid from admission" NEWEST_OF_COUPON ") and a.accepted <> i.accepted"};
    static const struct pg_statement insert = {
        "insert into publish_request (coupon_id, user_id, ticket, request_id, accept_time)"
        " select i.*, $5 from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) i"};
    struct pg_args count_args = {0}, insert_args = {0};
    arg_counts(&count_args, arena, batch);
    arg_ledger(&insert_args, arena, rows);
    pg_arg_time(&insert_args, arena, batch->now_us);
    pg_send(pg, &insert, &insert_args);
    outbox_send_append(pg, arena, STREAM_REQUESTED, batch->segment, outbox, batch->now_us);
    pg_send(pg, &count, &count_args);
    pg_send(pg, &pg_commit, NULL);
    PGresult *results[3 + OUTBOX_APPEND_STATEMENTS];
    FAULT_POINT("admit", "before_commit");
    if (!pg_collect(pg, results, 3 + OUTBOX_APPEND_STATEMENTS, err))
        return failed(batch);
    FAULT_POINT("admit", "after_commit");
    pg_clear(results, 3 + OUTBOX_APPEND_STATEMENTS);
    const struct locked_coupons coupons = locked_coupons(batch);
    coupon_cache_keep(batch->cache, &coupons);
    return true;
}

/* --- by memory --- */

static bool is_about(int64_t us, int64_t now_us) {
    return us > now_us - CLOCK_MARGIN_US && us < now_us + CLOCK_MARGIN_US;
}

bool admission_recall(struct arena *arena, int lanes, struct admission_batch *batch) {
    const struct admission_memory *memory = batch->memory;
    if (!memory || !memory->is_known)
        return false;
    init_heads(batch, arena, lanes);
    if (batch->heads.n != 1 || !coupon_cache_recall(batch->cache, batch->coupons, batch->n_coupons, &batch->heads))
        return false;
    batch->segment = memory->segment;
    int64_t mono_us = clock_mono_us();
    batch->now_us = mono_us + memory->ahead_us + (mono_us - memory->learned_us) / CLOCK_GAIN;
    if (batch->now_us < memory->last_us)
        batch->now_us = memory->last_us;
    memset(batch->in_ledger, 0, batch->n_asks * sizeof *batch->in_ledger);
    for (size_t i = 0; i < batch->n_coupons; i++)
        if (is_about(batch->coupons[i].open_us, batch->now_us) || is_about(batch->coupons[i].expire_us, batch->now_us))
            return false;
    return true;
}

enum admission_outcome admission_write_recalled(struct pg *pg, struct arena *arena, const struct admission_batch *batch,
                                                const struct admission_rows *rows, const struct outbox_batch *outbox,
                                                struct err *err) {
    /* The head's update waits for others who hold the lane, and then finds that the head has changed. Everything else
     * depends on its row. The division fails if a counter was changed at the same time by hand. */
#define WRITE_INTO(table)                                                                                              \
    {                                                                                                                  \
        "with head as (update outbox_head h set last_id = $3 from (select $2::integer) i(lane)"                        \
        "  where h.ctid = (select ctid from outbox_head" NEWEST_OF_LANE ")"                                            \
        "   and last_id = $4 and epoch = $5 and (select current from outbox_segment where stream = $1 limit 1) = $6"   \
        "   and $7 between clock_timestamp() - interval '0.1 s' and clock_timestamp()"                                 \
        "  returning clock_timestamp() at),"                                                                           \
        " counted as (update admission a set accepted = i.accepted"                                                    \
        "  from head cross join unnest($8::bigint[], $9::bigint[]) i(coupon_id, accepted)"                             \
        "  where a.ctid = (select ctid from admission" NEWEST_OF_COUPON ") returning 1),"                              \
        " ledger as (insert into publish_request (coupon_id, user_id, ticket, request_id, accept_time)"                \
        "  select i.*, $7 from head cross join unnest($10::bigint[], $11::bigint[], $12::bigint[], $13::text[]) i),"   \
        " events as (insert into " table " (lane, id, first_id, append_time, events)"                                  \
        "  select $2, i.id, i.first_id, $7, i.events"                                                                  \
        "  from head cross join unnest($14::bigint[], $15::bigint[], $16::bytea[]) i(id, first_id, events))"           \
        "select h.n, coalesce(h.at, clock_timestamp()), 1 / (case when c.n = h.n * $17 then 1 else 0 end)"             \
        " from (select count(*) n, max(at) at from head) h cross join (select count(*) n from counted) c"              \
    }
    static const struct pg_statement write[] = {WRITE_INTO("outbox_requested_0"), WRITE_INTO("outbox_requested_1")};
#undef WRITE_INTO
    const struct outbox_columns events = outbox_columns(outbox);
    const struct outbox_heads *heads = &batch->heads;
    struct pg_args args = {0};
    pg_arg_int2(&args, arena, STREAM_REQUESTED);
    pg_arg_int4(&args, arena, heads->lane[0]);
    pg_arg_int8(&args, arena, heads->last_id[0]);
    pg_arg_int8(&args, arena, heads->last_id[0] - (int64_t)outbox->n_events);
    pg_arg_int8(&args, arena, heads->epoch[0]);
    pg_arg_int2(&args, arena, (int16_t)batch->segment);
    pg_arg_time(&args, arena, batch->now_us);
    size_t n_coupons = arg_counts(&args, arena, batch);
    arg_ledger(&args, arena, rows);
    pg_arg_int8s(&args, arena, events.id, events.n);
    pg_arg_int8s(&args, arena, events.first_id, events.n);
    pg_arg_byteas(&args, arena, events.events, events.n);
    pg_arg_int8(&args, arena, (int64_t)n_coupons);
    PGresult *result;
    int64_t sent_us = clock_mono_us();
    pg_send(pg, &write[batch->segment], &args);
    FAULT_POINT("admit", "before_commit");
    if (!pg_collect(pg, &result, 1, err)) {
        failed(batch);
        return ADMISSION_FAILED;
    }
    FAULT_POINT("admit", "after_commit");
    bool is_current = pg_int8(result, 0, 0) == 1;
    remember(batch, is_current ? batch->now_us : batch->memory->last_us, pg_time(result, 0, 1, 0), sent_us);
    pg_clear(&result, 1);
    const struct locked_coupons coupons = locked_coupons(batch);
    if (is_current)
        coupon_cache_keep(batch->cache, &coupons);
    return is_current ? ADMISSION_WRITTEN : ADMISSION_STALE;
}

void admission_abandon(struct pg *pg, const struct admission_batch *batch) {
    FAULT_POINT("admit", "before_rollback");
    const struct locked_coupons coupons = locked_coupons(batch);
    if (coupon_cache_roll_back(batch->cache, pg, &coupons))
        FAULT_POINT("admit", "after_rollback");
}

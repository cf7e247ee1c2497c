#include "store/outbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/murmur2.h"

#define COLUMNS "lane, id, coupon_id, ticket, append_time, traceparent, payload"

static const char *const stream_names[STREAMS] = {"requested", "published"};

/* --- appending --- */

void outbox_rows_init(struct outbox_rows *rows, struct arena *arena, size_t cap) {
    *rows = (struct outbox_rows){
        .cap = cap,
        .lane = ARENA_ARRAY(arena, int32_t, cap),
        .id = ARENA_ARRAY(arena, int64_t, cap),
        .coupon_id = ARENA_ARRAY(arena, int64_t, cap),
        .ticket = ARENA_ARRAY(arena, int64_t, cap),
        .traceparent = ARENA_ARRAY(arena, const char *, cap),
        .payload = ARENA_ARRAY(arena, struct pg_bytes, cap),
    };
}

void outbox_heads_init(struct outbox_heads *heads, struct arena *arena, const int64_t *coupon_ids, size_t n,
                       int lanes) {
    bool *touched = arena_zalloc(arena, (size_t)lanes * sizeof *touched);
    size_t distinct = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t lane = murmur2_slot_of_id(coupon_ids[i], lanes);
        distinct += !touched[lane];
        touched[lane] = true;
    }
    heads->n = 0;
    heads->lane = ARENA_ARRAY(arena, int32_t, distinct);
    heads->last_id = arena_zalloc(arena, distinct * sizeof *heads->last_id);
    for (int32_t lane = 0; lane < lanes; lane++)
        if (touched[lane])
            heads->lane[heads->n++] = lane;
}

int64_t outbox_heads_next(struct outbox_heads *heads, int32_t lane) {
    size_t low = 0, high = heads->n;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (heads->lane[middle] <= lane)
            low = middle;
        else
            high = middle;
    }
    return ++heads->last_id[low];
}

void outbox_send_lock(struct pg *pg, struct arena *arena, enum stream stream, const struct outbox_heads *heads) {
    static const struct pg_statement lock = {"select pg_advisory_xact_lock(k) from unnest($1::bigint[]) k"};
    static const struct pg_statement read = {
        "select i.n, h.last_id, s.current, clock_timestamp()"
        " from (select current from outbox_segment where stream = $1 limit 1) s"
        " cross join unnest($2::integer[]) with ordinality i(lane, n)"
        " cross join lateral (select last_id from outbox_head where stream = $1 and lane = i.lane limit 1) h"};
    enum pg_lock_stage stage = stream == STREAM_REQUESTED ? PG_LOCK_ADMIT : PG_LOCK_ISSUE;
    int64_t *keys = ARENA_ARRAY(arena, int64_t, heads->n);
    for (size_t i = 0; i < heads->n; i++)
        keys[i] = pg_lock_key(pg, stage, heads->lane[i]);
    struct pg_args lock_args = {0}, read_args = {0};
    pg_arg_int8s(&lock_args, arena, keys, heads->n);
    pg_send(pg, &lock, &lock_args);
    pg_arg_int2(&read_args, arena, (int16_t)stream);
    pg_arg_int4s(&read_args, arena, heads->lane, heads->n);
    pg_send(pg, &read, &read_args);
}

void outbox_read_lock(PGresult *const *results, struct outbox_heads *heads, int *ret_segment, int64_t *ret_now_us) {
    const PGresult *read = results[1];
    for (int row = 0; row < PQntuples(read); row++)
        heads->last_id[pg_int8(read, row, 0) - 1] = pg_int8(read, row, 1);
    *ret_segment = pg_int2(read, 0, 2);
    *ret_now_us = pg_time(read, 0, 3, 0);
}

void outbox_send_append(struct pg *pg, struct arena *arena, enum stream stream, int segment,
                        const struct outbox_rows *rows, const struct outbox_heads *heads, int64_t now_us) {
#define INSERT_INTO(table)                                                                                             \
    {                                                                                                                  \
        "insert into " table " (" COLUMNS ") select i.lane, i.id, i.coupon_id, i.ticket, $5, i.traceparent, i.payload" \
        " from unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $6::text[], $7::bytea[])"               \
        " i(lane, id, coupon_id, ticket, traceparent, payload)"                                                        \
    }
    static const struct pg_statement insert[STREAMS][2] = {
        {INSERT_INTO("outbox_requested_0"), INSERT_INTO("outbox_requested_1")},
        {INSERT_INTO("outbox_published_0"), INSERT_INTO("outbox_published_1")},
    };
#undef INSERT_INTO
    static const struct pg_statement move = {
        "update outbox_head h set last_id = i.last_id from unnest($2::integer[], $3::bigint[]) i(lane, last_id)"
        " where h.stream = $1 and h.lane = i.lane"};
    struct pg_args rows_args = {0}, heads_args = {0};
    pg_arg_int4s(&rows_args, arena, rows->lane, rows->n);
    pg_arg_int8s(&rows_args, arena, rows->id, rows->n);
    pg_arg_int8s(&rows_args, arena, rows->coupon_id, rows->n);
    pg_arg_int8s(&rows_args, arena, rows->ticket, rows->n);
    pg_arg_time(&rows_args, arena, now_us);
    pg_arg_texts(&rows_args, arena, rows->traceparent, rows->n);
    pg_arg_byteas(&rows_args, arena, rows->payload, rows->n);
    pg_send(pg, &insert[stream][segment], &rows_args);
    pg_arg_int2(&heads_args, arena, (int16_t)stream);
    pg_arg_int4s(&heads_args, arena, heads->lane, heads->n);
    pg_arg_int8s(&heads_args, arena, heads->last_id, heads->n);
    pg_send(pg, &move, &heads_args);
}

bool outbox_append(struct pg *pg, struct arena *arena, enum stream stream, int lanes, struct outbox_rows *rows,
                   struct err *err) {
    struct outbox_heads heads;
    int segment;
    int64_t now_us;
    PGresult *results[1 + OUTBOX_LOCK_STATEMENTS];
    outbox_heads_init(&heads, arena, rows->coupon_id, rows->n, lanes);
    pg_send(pg, &pg_begin, NULL);
    outbox_send_lock(pg, arena, stream, &heads);
    if (!pg_collect(pg, results, 1 + OUTBOX_LOCK_STATEMENTS, err))
        return false;
    outbox_read_lock(&results[1], &heads, &segment, &now_us);
    pg_clear(results, 1 + OUTBOX_LOCK_STATEMENTS);
    for (size_t i = 0; i < rows->n; i++) {
        rows->lane[i] = murmur2_slot_of_id(rows->coupon_id[i], lanes);
        rows->id[i] = outbox_heads_next(&heads, rows->lane[i]);
    }
    outbox_send_append(pg, arena, stream, segment, rows, &heads, now_us);
    pg_send(pg, &pg_commit, NULL);
    if (!pg_collect(pg, results, OUTBOX_APPEND_STATEMENTS + 1, err))
        return false;
    pg_clear(results, OUTBOX_APPEND_STATEMENTS + 1);
    return true;
}

/* --- relaying --- */

bool outbox_take_lanes(struct pg *pg, enum stream stream, const int32_t *lanes, size_t n, bool *ret_own,
                       int64_t *ret_cursor, int *ret_version, struct err *err) {
    static const struct pg_statement take = {
        "select pg_try_advisory_lock(k) from unnest($1::bigint[]) with ordinality i(k, n) order by n"};
    /* Read after the lock was taken: the former owner may have moved it until then. */
    static const struct pg_statement cursors = {
        "select i.n, c.last_id, c.version from unnest($2::integer[]) with ordinality i(lane, n) cross join lateral"
        " (select last_id, version from relay_cursor where stream = $1 and lane = i.lane limit 1) c"};
    enum pg_lock_stage stage = stream == STREAM_REQUESTED ? PG_LOCK_RELAY_REQUESTED : PG_LOCK_RELAY_PUBLISHED;
    struct arena arena;
    arena_init(&arena, 4096);
    int64_t *keys = ARENA_ARRAY(&arena, int64_t, n);
    for (size_t i = 0; i < n; i++)
        keys[i] = pg_lock_key(pg, stage, lanes[i]);
    struct pg_args take_args = {0}, cursor_args = {0};
    pg_arg_int8s(&take_args, &arena, keys, n);
    pg_send(pg, &take, &take_args);
    pg_arg_int2(&cursor_args, &arena, (int16_t)stream);
    pg_arg_int4s(&cursor_args, &arena, lanes, n);
    pg_send(pg, &cursors, &cursor_args);
    PGresult *results[2];
    bool ok = pg_collect(pg, results, 2, err);
    if (ok) {
        for (size_t i = 0; i < n; i++)
            ret_own[i] = pg_bool(results[0], (int)i, 0);
        for (int row = 0; row < PQntuples(results[1]); row++) {
            ret_cursor[pg_int8(results[1], row, 0) - 1] = pg_int8(results[1], row, 1);
            ret_version[pg_int8(results[1], row, 0) - 1] = pg_int4(results[1], row, 2);
        }
        pg_clear(results, 2);
    }
    arena_deinit(&arena);
    return ok;
}

struct place {
    size_t lane_index;
    struct outbox_entry entry;
};

static int by_lane_then_id(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->lane_index != y->lane_index)
        return x->lane_index < y->lane_index ? -1 : 1;
    return x->entry.id < y->entry.id ? -1 : x->entry.id > y->entry.id;
}

static void place_rows(const PGresult *result, struct place *places) {
    for (int row = 0; row < PQntuples(result); row++)
        places[row] = (struct place){
            .lane_index = (size_t)pg_int8(result, row, 7) - 1,
            .entry =
                {
                    .lane = pg_int4(result, row, 0),
                    .id = pg_int8(result, row, 1),
                    .coupon_id = pg_int8(result, row, 2),
                    .ticket = pg_int8(result, row, 3),
                    .append_us = pg_time(result, row, 4, 0),
                    .traceparent = PQgetisnull(result, row, 5) ? NULL : PQgetvalue(result, row, 5),
                    .payload = PQgetvalue(result, row, 6),
                    .payload_len = (size_t)PQgetlength(result, row, 6),
                },
        };
}

bool outbox_read(struct pg *pg, struct arena *arena, enum stream stream, const int32_t *lanes, const int64_t *after,
                 size_t n, int max, struct outbox_entry **ret_entries, size_t *ret_n, PGresult **ret_results,
                 struct err *err) {
#define READ_FROM(table)                                                                                               \
    {                                                                                                                  \
        "select o.*, i.n from unnest($1::integer[], $2::bigint[]) with ordinality i(lane, after, n) cross join "       \
        "lateral"                                                                                                      \
        " (select " COLUMNS " from " table " where lane = i.lane and id > i.after order by id limit $3) o"             \
    }
    static const struct pg_statement read[STREAMS][2] = {
        {READ_FROM("outbox_requested_0"), READ_FROM("outbox_requested_1")},
        {READ_FROM("outbox_published_0"), READ_FROM("outbox_published_1")},
    };
#undef READ_FROM
    struct pg_args args = {0};
    pg_arg_int4s(&args, arena, lanes, n);
    pg_arg_int8s(&args, arena, after, n);
    pg_arg_int8(&args, arena, max);
    pg_send(pg, &read[stream][0], &args);
    pg_send(pg, &read[stream][1], &args);
    if (!pg_collect(pg, ret_results, 2, err))
        return false;
    size_t first = (size_t)PQntuples(ret_results[0]), total = first + (size_t)PQntuples(ret_results[1]);
    struct place *places = ARENA_ARRAY(arena, struct place, total + 1);
    place_rows(ret_results[0], places);
    place_rows(ret_results[1], places + first);
    if (first > 0 && total > first) /* one segment alone comes in order */
        qsort(places, total, sizeof *places, by_lane_then_id);
    struct outbox_entry *entries = ARENA_ARRAY(arena, struct outbox_entry, total + 1);
    size_t count = 0, lane_index = 0;
    int64_t expected = 0;
    for (size_t i = 0; i < total; i++) {
        if (i == 0 || places[i].lane_index != lane_index) {
            lane_index = places[i].lane_index;
            expected = after[lane_index] + 1;
        }
        /* What follows a gap belongs behind rows of the other segment that did not fit into this read. */
        if (places[i].entry.id == expected) {
            entries[count++] = places[i].entry;
            expected++;
        }
    }
    *ret_entries = entries;
    *ret_n = count;
    return true;
}

bool outbox_move_cursors(struct pg *pg, struct arena *arena, enum stream stream, const int32_t *lanes,
                         const int64_t *last_ids, size_t n, struct err *err) {
    static const struct pg_statement lazy = {"set local synchronous_commit = off"};
    static const struct pg_statement move = {
        "update relay_cursor c set last_id = i.last_id from unnest($2::integer[], $3::bigint[]) i(lane, last_id)"
        " where c.stream = $1 and c.lane = i.lane and c.last_id < i.last_id"};
    struct pg_args args = {0};
    pg_arg_int2(&args, arena, (int16_t)stream);
    pg_arg_int4s(&args, arena, lanes, n);
    pg_arg_int8s(&args, arena, last_ids, n);
    PGresult *results[4];
    pg_send(pg, &pg_begin, NULL);
    pg_send(pg, &lazy, NULL);
    pg_send(pg, &move, &args);
    pg_send(pg, &pg_commit, NULL);
    if (!pg_collect(pg, results, 4, err))
        return false;
    pg_clear(results, 4);
    return true;
}

bool outbox_lag(struct pg *pg, struct arena *arena, enum stream stream, int64_t *ret_rows, struct err *err) {
    static const struct pg_statement lag = {"select coalesce(sum(h.last_id - c.last_id), 0)::bigint from outbox_head h"
                                            " join relay_cursor c using (stream, lane) where h.stream = $1"};
    struct pg_args args = {0};
    pg_arg_int2(&args, arena, (int16_t)stream);
    PGresult *result;
    pg_send(pg, &lag, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    *ret_rows = pg_int8(result, 0, 0);
    pg_clear(&result, 1);
    return true;
}

/* --- rotating --- */

/* Is it time, and does the current segment hold anything? Then *ret_current is it; else -1. */
static bool due_for_rotation(struct pg *pg, struct arena *arena, enum stream stream, int64_t age_ms, int *ret_current,
                             struct err *err) {
    static const struct pg_statement due = {
        "select current from outbox_segment where stream = $1"
        " and rotate_time < clock_timestamp() - $2::bigint * interval '1 millisecond' for update"};
    struct pg_args args = {0};
    pg_arg_int2(&args, arena, (int16_t)stream);
    pg_arg_int8(&args, arena, age_ms);
    PGresult *results[2];
    pg_send(pg, &pg_begin, NULL);
    pg_send(pg, &due, &args);
    if (!pg_collect(pg, results, 2, err))
        return false;
    *ret_current = PQntuples(results[1]) ? pg_int2(results[1], 0, 0) : -1;
    pg_clear(results, 2);
    return true;
}

/* Inside the transaction: 1 when every row of the segment was passed by its lane's cursor (and there is a reason to
 * rotate: the other holds rows), 0 when not, -1 on failure. */
static int is_drained(struct pg *pg, const char *table, const char *current_table, enum stream stream,
                      struct err *err) {
    char sql[600];
    snprintf(sql, sizeof sql,
             "set local lock_timeout = '100ms'; lock table %s in access exclusive mode;"
             "do $$ begin if not exists (select 1 from %s limit 1) or exists ("
             "select 1 from relay_cursor k cross join lateral (select 1 from %s o"
             " where o.lane = k.lane and o.id > k.last_id limit 1) r where k.stream = %d)"
             " then raise exception 'in use' using errcode = '55006'; end if; end $$",
             table, current_table, table, (int)stream);
    struct err cause;
    if (pg_exec(pg, sql, &cause))
        return 1;
    if (strcmp(cause.sqlstate, "55006") == 0 || strcmp(cause.sqlstate, "55P03") == 0)
        return 0;
    if (err)
        *err = cause;
    return -1;
}

bool outbox_rotate(struct pg *pg, struct arena *arena, enum stream stream, int64_t age_ms, bool *ret_rotated,
                   struct err *err) {
    int current;
    if (!due_for_rotation(pg, arena, stream, age_ms, &current, err))
        return false;
    char table[64], current_table[64];
    snprintf(table, sizeof table, "outbox_%s_%d", stream_names[stream], 1 - current);
    snprintf(current_table, sizeof current_table, "outbox_%s_%d", stream_names[stream], current);
    int drained = current < 0 ? 0 : is_drained(pg, table, current_table, stream, err);
    bool ok = drained >= 0;
    if (drained == 1) {
        char sql[200];
        snprintf(sql, sizeof sql,
                 "truncate %s; update outbox_segment set current = %d, rotate_time = clock_timestamp()"
                 " where stream = %d; commit",
                 table, 1 - current, (int)stream);
        ok = pg_exec(pg, sql, err);
    }
    if (drained != 1 || !ok) {
        if (pg_is_connected(pg))
            pg_exec(pg, "rollback", NULL);
    } else {
        *ret_rotated = true;
        return true;
    }
    if (ok)
        *ret_rotated = false;
    return ok;
}

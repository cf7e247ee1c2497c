/* SPDX-License-Identifier: Apache-2.0 */
#include "store/outbox.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/murmur2.h"
#include "model/event.h"
#include "store/newest.h"

#define COLUMNS "lane, id, first_id, append_time, events"

/* The greatest size of the events in a row, in bytes. With the row's other columns and headers it fills a page of
 * Postgres. */
#define ROW_BYTES 8000
/* The size of each event's header in bytes: coupon_id (8), ticket (8), the lengths of traceparent (2) and payload
 * (2). */
#define EVENT_HEADER 20

static const char *const stream_names[STREAMS] = {"requested", "published"};

/* --- appending --- */

struct outbox_row {
    struct outbox_row *next;
    int32_t lane;
    int64_t first_id, last_id;
    size_t len;
    uint8_t bytes[ROW_BYTES];
};

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
    heads->epoch = arena_zalloc(arena, distinct * sizeof *heads->epoch);
    for (int32_t lane = 0; lane < lanes; lane++)
        if (touched[lane])
            heads->lane[heads->n++] = lane;
}

static size_t index_of_lane(const struct outbox_heads *heads, int32_t lane) {
    size_t low = 0, high = heads->n;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (heads->lane[middle] <= lane)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void outbox_batch_init(struct outbox_batch *batch, struct arena *arena, struct outbox_heads *heads) {
    *batch = (struct outbox_batch){.arena = arena, .heads = heads};
    batch->link = &batch->first;
    batch->open = arena_zalloc(arena, heads->n * sizeof *batch->open);
}

static struct outbox_row *begin_row(struct outbox_batch *batch, int32_t lane, int64_t first_id) {
    struct outbox_row *row = arena_alloc(batch->arena, sizeof *row);
    row->next = NULL;
    row->lane = lane;
    row->first_id = first_id;
    row->len = 0;
    *batch->link = row;
    batch->link = &row->next;
    batch->n_rows++;
    return row;
}

static uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t len) {
    if (len)
        memcpy(at, bytes, len);
    return at + len;
}

static uint8_t *put_number(uint8_t *at, uint64_t value, int bytes) {
    value = htobe64(value);
    return put_bytes(at, (const uint8_t *)&value + sizeof value - bytes, (size_t)bytes);
}

void outbox_put(struct outbox_batch *batch, int32_t lane, const struct outbox_event *event) {
    const struct pg_bytes *traceparent = &event->traceparent, *payload = &event->payload;
    size_t size = EVENT_HEADER + traceparent->len + payload->len, index = index_of_lane(batch->heads, lane);
    if (size > ROW_BYTES)
        abort(); /* a defect: model/event.h bounds the size of events */
    int64_t id = ++batch->heads->last_id[index];
    struct outbox_row *row = batch->open[index];
    if (!row || row->len + size > ROW_BYTES)
        row = batch->open[index] = begin_row(batch, lane, id);
    uint8_t *at = row->bytes + row->len;
    at = put_number(put_number(at, (uint64_t)event->coupon_id, 8), (uint64_t)event->ticket, 8);
    at = put_number(put_number(at, traceparent->len, 2), payload->len, 2);
    put_bytes(put_bytes(at, traceparent->data, traceparent->len), payload->data, payload->len);
    row->len += size;
    row->last_id = id;
    batch->n_events++;
}

void outbox_send_lock(struct pg *pg, struct arena *arena, enum stream stream, const struct outbox_heads *heads) {
    static const struct pg_statement lock = {"select pg_advisory_xact_lock(k) from unnest($1::bigint[]) k"};
    static const struct pg_statement read = {
        "select i.n, h.last_id, s.current, clock_timestamp(), h.epoch"
        " from (select current from outbox_segment where stream = $1 limit 1) s"
        " cross join unnest($2::integer[]) with ordinality i(lane, n)"
        " cross join lateral (select last_id, epoch from outbox_head" NEWEST_OF_LANE " for no key update) h"};
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
    for (int row = 0; row < PQntuples(read); row++) {
        heads->last_id[pg_int8(read, row, 0) - 1] = pg_int8(read, row, 1);
        heads->epoch[pg_int8(read, row, 0) - 1] = pg_int8(read, row, 4);
    }
    *ret_segment = pg_int2(read, 0, 2);
    *ret_now_us = pg_time(read, 0, 3, 0);
}

struct outbox_columns outbox_columns(const struct outbox_batch *batch) {
    size_t n = batch->n_rows, i = 0;
    struct outbox_columns columns = {
        .n = n,
        .lane = ARENA_ARRAY(batch->arena, int32_t, n),
        .id = ARENA_ARRAY(batch->arena, int64_t, n),
        .first_id = ARENA_ARRAY(batch->arena, int64_t, n),
        .events = ARENA_ARRAY(batch->arena, struct pg_bytes, n),
    };
    for (const struct outbox_row *row = batch->first; row; row = row->next, i++) {
        columns.lane[i] = row->lane;
        columns.id[i] = row->last_id;
        columns.first_id[i] = row->first_id;
        columns.events[i] = (struct pg_bytes){row->bytes, row->len};
    }
    return columns;
}

void outbox_send_append(struct pg *pg, struct arena *arena, enum stream stream, int segment,
                        const struct outbox_batch *batch, int64_t now_us) {
#define INSERT_INTO(table)                                                                                             \
    {                                                                                                                  \
        "insert into " table " (" COLUMNS ") select i.lane, i.id, i.first_id, $4, i.events"                            \
        " from unnest($1::integer[], $2::bigint[], $3::bigint[], $5::bytea[]) i(lane, id, first_id, events)"           \
    }
    static const struct pg_statement insert[STREAMS][2] = {
        {INSERT_INTO("outbox_requested_0"), INSERT_INTO("outbox_requested_1")},
        {INSERT_INTO("outbox_published_0"), INSERT_INTO("outbox_published_1")},
    };
#undef INSERT_INTO
    static const struct pg_statement move = {
        "update outbox_head h set last_id = i.last_id from unnest($2::integer[], $3::bigint[]) i(lane, last_id)"
        " where h.ctid = (select ctid from outbox_head" NEWEST_OF_LANE ") and h.last_id <> i.last_id"};
    const struct outbox_columns rows = outbox_columns(batch);
    struct pg_args rows_args = {0}, heads_args = {0};
    pg_arg_int4s(&rows_args, arena, rows.lane, rows.n);
    pg_arg_int8s(&rows_args, arena, rows.id, rows.n);
    pg_arg_int8s(&rows_args, arena, rows.first_id, rows.n);
    pg_arg_time(&rows_args, arena, now_us);
    pg_arg_byteas(&rows_args, arena, rows.events, rows.n);
    pg_send(pg, &insert[stream][segment], &rows_args);
    pg_arg_int2(&heads_args, arena, (int16_t)stream);
    pg_arg_int4s(&heads_args, arena, batch->heads->lane, batch->heads->n);
    pg_arg_int8s(&heads_args, arena, batch->heads->last_id, batch->heads->n);
    pg_send(pg, &move, &heads_args);
}

void outbox_send_raise_epoch(struct pg *pg, struct arena *arena, enum stream stream, struct outbox_heads *heads) {
    static const struct pg_statement raise = {
        "update outbox_head h set epoch = epoch + 1 from unnest($2::integer[]) i(lane)"
        " where h.ctid = (select ctid from outbox_head" NEWEST_OF_LANE ")"};
    struct pg_args args = {0};
    pg_arg_int2(&args, arena, (int16_t)stream);
    pg_arg_int4s(&args, arena, heads->lane, heads->n);
    pg_send(pg, &raise, &args);
    for (size_t i = 0; i < heads->n; i++)
        heads->epoch[i]++;
}

bool outbox_append(struct pg *pg, struct arena *arena, enum stream stream, int lanes,
                   const struct outbox_events *events, struct err *err) {
    struct outbox_heads heads;
    struct outbox_batch batch;
    int segment;
    int64_t now_us, *coupon_ids = ARENA_ARRAY(arena, int64_t, events->n);
    PGresult *results[1 + OUTBOX_LOCK_STATEMENTS];
    for (size_t i = 0; i < events->n; i++)
        coupon_ids[i] = events->event[i].coupon_id;
    outbox_heads_init(&heads, arena, coupon_ids, events->n, lanes);
    pg_send(pg, &pg_begin, NULL);
    outbox_send_lock(pg, arena, stream, &heads);
    if (!pg_collect(pg, results, 1 + OUTBOX_LOCK_STATEMENTS, err))
        return false;
    outbox_read_lock(&results[1], &heads, &segment, &now_us);
    pg_clear(results, 1 + OUTBOX_LOCK_STATEMENTS);
    outbox_batch_init(&batch, arena, &heads);
    for (size_t i = 0; i < events->n; i++)
        outbox_put(&batch, murmur2_slot_of_id(coupon_ids[i], lanes), &events->event[i]);
    outbox_send_append(pg, arena, stream, segment, &batch, now_us);
    pg_send(pg, &pg_commit, NULL);
    if (!pg_collect(pg, results, OUTBOX_APPEND_STATEMENTS + 1, err))
        return false;
    pg_clear(results, OUTBOX_APPEND_STATEMENTS + 1);
    return true;
}

/* --- relaying --- */

bool outbox_take_lanes(struct pg *pg, enum stream stream, const struct outbox_lanes *lanes, struct err *err) {
    static const struct pg_statement take = {
        "select pg_try_advisory_lock(k) from unnest($1::bigint[]) with ordinality i(k, n) order by n"};
    /* Read the cursors after the locks are taken, since the former owner may have moved them until then. */
    static const struct pg_statement cursors = {
        "select i.n, c.last_id, c.version from unnest($2::integer[]) with ordinality i(lane, n) cross join lateral"
        " (select last_id, version from relay_cursor where stream = $1 and lane = i.lane limit 1) c"};
    enum pg_lock_stage stage = stream == STREAM_REQUESTED ? PG_LOCK_RELAY_REQUESTED : PG_LOCK_RELAY_PUBLISHED;
    struct arena arena;
    arena_init(&arena, 4096);
    int64_t *keys = ARENA_ARRAY(&arena, int64_t, lanes->n);
    for (size_t i = 0; i < lanes->n; i++)
        keys[i] = pg_lock_key(pg, stage, lanes->lane[i]);
    struct pg_args take_args = {0}, cursor_args = {0};
    pg_arg_int8s(&take_args, &arena, keys, lanes->n);
    pg_send(pg, &take, &take_args);
    pg_arg_int2(&cursor_args, &arena, (int16_t)stream);
    pg_arg_int4s(&cursor_args, &arena, lanes->lane, lanes->n);
    pg_send(pg, &cursors, &cursor_args);
    PGresult *results[2];
    bool ok = pg_collect(pg, results, 2, err);
    if (ok) {
        for (size_t i = 0; i < lanes->n; i++)
            lanes->own[i] = pg_bool(results[0], (int)i, 0);
        for (int row = 0; row < PQntuples(results[1]); row++) {
            lanes->cursor[pg_int8(results[1], row, 0) - 1] = pg_int8(results[1], row, 1);
            lanes->version[pg_int8(results[1], row, 0) - 1] = pg_int4(results[1], row, 2);
        }
        pg_clear(results, 2);
    }
    arena_deinit(&arena);
    return ok;
}

/* A row as read from Postgres, with its events packed. */
struct packed {
    size_t lane_index;
    int32_t lane;
    int64_t id, first_id, append_us;
    const uint8_t *bytes;
    size_t len;
};

static int by_lane_then_id(const void *a, const void *b) {
    const struct packed *x = a, *y = b;
    if (x->lane_index != y->lane_index)
        return x->lane_index < y->lane_index ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Copies the rows of a result. Returns an upper bound for the number of their events. */
static size_t read_rows(const PGresult *result, struct packed *rows) {
    size_t n_events = 0;
    for (int i = 0; i < PQntuples(result); i++) {
        rows[i] = (struct packed){
            .lane = pg_int4(result, i, 0),
            .id = pg_int8(result, i, 1),
            .first_id = pg_int8(result, i, 2),
            .append_us = pg_time(result, i, 3, 0),
            .bytes = (const uint8_t *)PQgetvalue(result, i, 4),
            .len = (size_t)PQgetlength(result, i, 4),
            .lane_index = (size_t)pg_int8(result, i, 5) - 1,
        };
        n_events += rows[i].len / EVENT_HEADER;
    }
    return n_events;
}

static uint64_t get_number(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* Unpacks the row's events with ids from `from` on. Returns how many. */
static size_t unpack(const struct packed *row, int64_t from, struct outbox_entry *entries) {
    size_t n = 0;
    const uint8_t *at = row->bytes, *end = at + row->len;
    for (int64_t id = row->first_id; id <= row->id && end - at >= EVENT_HEADER; id++) {
        size_t traceparent_len = get_number(at + 16, 2), payload_len = get_number(at + 18, 2);
        const uint8_t *body = at + EVENT_HEADER;
        if ((size_t)(end - body) < traceparent_len + payload_len)
            break;
        if (id >= from)
            entries[n++] = (struct outbox_entry){
                .lane = row->lane,
                .id = id,
                .coupon_id = (int64_t)get_number(at, 8),
                .ticket = (int64_t)get_number(at + 8, 8),
                .append_us = row->append_us,
                .traceparent = (const char *)body,
                .traceparent_len = traceparent_len,
                .payload = body + traceparent_len,
                .payload_len = payload_len,
            };
        at = body + traceparent_len + payload_len;
    }
    return n;
}

bool outbox_read(struct pg *pg, struct arena *arena, enum stream stream, struct outbox_page *page, struct err *err) {
#define READ_FROM(table)                                                                                               \
    {                                                                                                                  \
        "select o.*, i.n from unnest($1::integer[], $2::bigint[]) with ordinality i(lane, after, n)"                   \
        " cross join lateral (select " COLUMNS " from " table                                                          \
        " where lane = i.lane and id > i.after order by id limit $3) o"                                                \
    }
    static const struct pg_statement read[STREAMS][2] = {
        {READ_FROM("outbox_requested_0"), READ_FROM("outbox_requested_1")},
        {READ_FROM("outbox_published_0"), READ_FROM("outbox_published_1")},
    };
#undef READ_FROM
    struct pg_args args = {0};
    pg_arg_int4s(&args, arena, page->lane, page->n_lanes);
    pg_arg_int8s(&args, arena, page->after, page->n_lanes);
    pg_arg_int8(&args, arena, page->max_rows);
    pg_send(pg, &read[stream][0], &args);
    pg_send(pg, &read[stream][1], &args);
    PGresult **results = page->results;
    if (!pg_collect(pg, results, 2, err))
        return false;
    size_t first = (size_t)PQntuples(results[0]), total = first + (size_t)PQntuples(results[1]);
    struct packed *rows = ARENA_ARRAY(arena, struct packed, total + 1);
    size_t n_events = read_rows(results[0], rows) + read_rows(results[1], rows + first);
    if (first > 0 && total > first) /* the rows of a single segment are already in order */
        qsort(rows, total, sizeof *rows, by_lane_then_id);
    struct outbox_entry *entries = ARENA_ARRAY(arena, struct outbox_entry, n_events + 1);
    size_t count = 0;
    int64_t expected = 0;
    for (size_t i = 0; i < total; i++) {
        if (i == 0 || rows[i].lane_index != rows[i - 1].lane_index)
            expected = page->after[rows[i].lane_index] + 1;
        /* A gap: the missing rows are in the other segment, beyond this read's max_rows. */
        if (rows[i].first_id > expected)
            continue;
        size_t got = unpack(&rows[i], expected, entries + count);
        count += got;
        expected += (int64_t)got;
    }
    page->entries = entries;
    page->n = count;
    page->more = total >= (size_t)page->max_rows;
    return true;
}

void outbox_page_clear(struct outbox_page *page) {
    pg_clear(page->results, 2);
}

bool outbox_move_cursors(struct pg *pg, struct arena *arena, enum stream stream, const struct outbox_cursors *cursors,
                         struct err *err) {
    /* Only the lane's owner changes its cursor. The setting lasts until the end of the transaction, which is this
     * statement. */
    static const struct pg_statement move = {
        "with lazy as materialized (select set_config('synchronous_commit', 'off', true))"
        " update relay_cursor c set last_id = i.last_id"
        " from lazy cross join unnest($2::integer[], $3::bigint[]) i(lane, last_id)"
        " where c.ctid = (select ctid from relay_cursor" NEWEST_OF_LANE ") and c.last_id < i.last_id"};
    struct pg_args args = {0};
    pg_arg_int2(&args, arena, (int16_t)stream);
    pg_arg_int4s(&args, arena, cursors->lane, cursors->n);
    pg_arg_int8s(&args, arena, cursors->last_id, cursors->n);
    PGresult *result;
    pg_send(pg, &move, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    pg_clear(&result, 1);
    return true;
}

bool outbox_lag(struct pg *pg, struct arena *arena, enum stream stream, int lanes, struct outbox_lag *ret,
                struct err *err) {
    static const struct pg_statement lag = {"select coalesce(sum(h.last_id - c.last_id), 0)::bigint, clock_timestamp()"
                                            " from generate_series(0, $2 - 1) i(lane)"
                                            " cross join lateral (select last_id from outbox_head" NEWEST_OF_LANE ") h"
                                            " cross join lateral (select last_id from relay_cursor" NEWEST_OF_LANE
                                            ") c"};
    struct pg_args args = {0};
    pg_arg_int2(&args, arena, (int16_t)stream);
    pg_arg_int4(&args, arena, lanes);
    PGresult *result;
    pg_send(pg, &lag, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    *ret = (struct outbox_lag){.events = pg_int8(result, 0, 0), .now_us = pg_time(result, 0, 1, 0)};
    pg_clear(&result, 1);
    return true;
}

bool outbox_unsent(struct pg *pg, struct arena *arena, enum stream stream, int32_t lane, struct outbox_unsent *ret,
                   struct err *err) {
#define FIRST_OF_LANE " o where o.lane = c.lane and o.id > c.last_id order by o.id limit 1"
#define UNSENT(segment_0, segment_1)                                                                                   \
    {                                                                                                                  \
        "select c.last_id, h.last_id, least("                                                                          \
        "(select append_time from " segment_0 FIRST_OF_LANE "), "                                                      \
        "(select append_time from " segment_1 FIRST_OF_LANE "))"                                                       \
        " from relay_cursor c join outbox_head h using (stream, lane)"                                                 \
        " where c.stream = $1 and c.lane = $2"                                                                         \
    }
    static const struct pg_statement unsent[STREAMS] = {UNSENT("outbox_requested_0", "outbox_requested_1"),
                                                        UNSENT("outbox_published_0", "outbox_published_1")};
#undef UNSENT
#undef FIRST_OF_LANE
    struct pg_args args = {0};
    pg_arg_int2(&args, arena, (int16_t)stream);
    pg_arg_int4(&args, arena, lane);
    PGresult *result;
    pg_send(pg, &unsent[stream], &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    *ret = (struct outbox_unsent){.oldest_us = INT64_MAX};
    if (PQntuples(result))
        *ret = (struct outbox_unsent){.cursor = pg_int8(result, 0, 0),
                                      .head = pg_int8(result, 0, 1),
                                      .oldest_us = pg_time(result, 0, 2, INT64_MAX)};
    pg_clear(&result, 1);
    return true;
}

/* --- rotating --- */

/* Begins the transaction and locks the stream's row. *ret_current: the current segment if a rotation is due, or -1. A
 * last rotation in the future means that the clock was set back, so a rotation is due then too. */
static bool due_for_rotation(struct pg *pg, struct arena *arena, enum stream stream, int64_t age_ms, int *ret_current,
                             struct err *err) {
    static const struct pg_statement due = {
        "select current from outbox_segment where stream = $1"
        " and (rotate_time < clock_timestamp() - $2::bigint * interval '1 millisecond'"
        "  or rotate_time > clock_timestamp()) for update"};
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

/* Locks `table`, within the transaction. *ret: OUTBOX_ROTATED if a rotation makes sense now, since the cursors have
 * passed all rows of `table`, and `current_table` has rows. */
static bool lock_segment(struct pg *pg, const char *table, const char *current_table, enum stream stream,
                         enum outbox_rotation *ret, struct err *err) {
    char sql[600];
    snprintf(sql, sizeof sql,
             "set local lock_timeout = '100ms'; lock table %s in access exclusive mode;"
             "do $$ begin if not exists (select 1 from %s limit 1) or exists ("
             "select 1 from relay_cursor k cross join lateral (select 1 from %s o"
             " where o.lane = k.lane and o.id > k.last_id limit 1) r where k.stream = %d)"
             " then raise exception 'in use' using errcode = '55006'; end if; end $$",
             table, current_table, table, (int)stream);
    struct err cause;
    if (pg_exec(pg, sql, &cause)) {
        *ret = OUTBOX_ROTATED;
        return true;
    }
    if (strcmp(cause.sqlstate, "55006") == 0 || strcmp(cause.sqlstate, "55P03") == 0) {
        *ret = strcmp(cause.sqlstate, "55P03") == 0 ? OUTBOX_LOCKED : OUTBOX_NOT_DUE;
        return true;
    }
    if (err)
        *err = cause;
    return false;
}

bool outbox_rotate(struct pg *pg, struct arena *arena, enum stream stream, int64_t age_ms, enum outbox_rotation *ret,
                   struct err *err) {
    int current;
    enum outbox_rotation rotation = OUTBOX_NOT_DUE;
    if (!due_for_rotation(pg, arena, stream, age_ms, &current, err))
        return false;
    char table[64], current_table[64];
    snprintf(table, sizeof table, "outbox_%s_%d", stream_names[stream], 1 - current);
    snprintf(current_table, sizeof current_table, "outbox_%s_%d", stream_names[stream], current);
    bool ok = current < 0 || lock_segment(pg, table, current_table, stream, &rotation, err);
    if (ok && rotation == OUTBOX_ROTATED) {
        char sql[200];
        snprintf(sql, sizeof sql,
                 "truncate %s; update outbox_segment set current = %d, rotate_time = clock_timestamp()"
                 " where stream = %d; commit",
                 table, 1 - current, (int)stream);
        FAULT_POINT("rotate", "before_commit");
        ok = pg_exec(pg, sql, err);
        FAULT_POINT("rotate", "after_commit");
    }
    if ((!ok || rotation != OUTBOX_ROTATED) && pg_is_connected(pg))
        pg_exec(pg, "rollback", NULL);
    if (ok)
        *ret = rotation;
    return ok;
}

struct outbox_event outbox_event_again(struct arena *arena, const struct request_status *request) {
    uint8_t *bytes = arena_alloc(arena, EVENT_MAX);
    const struct event event = {
        .coupon_id = request->coupon_id,
        .user_id = request->user_id,
        .ticket = request->ticket,
        .request_id = request->request_id,
        .request_id_len = strlen(request->request_id),
        .accept_us = request->accept_us,
    };
    return (struct outbox_event){
        .coupon_id = request->coupon_id,
        .ticket = request->ticket,
        .payload = {bytes, event_write(STREAM_REQUESTED, &event, bytes)},
    };
}

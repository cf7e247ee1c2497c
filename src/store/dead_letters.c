/* SPDX-License-Identifier: Apache-2.0 */
#include "store/dead_letters.h"

#include <string.h>

#include "base/murmur2.h"

/* The greatest number of rows that one trim deletes. The next sweep deletes more. */
#define TRIM_ROWS INT64_C(20000)

/* --- putting aside --- */

void dead_letters_init(struct dead_letters *letters, struct arena *arena, size_t max) {
    *letters = (struct dead_letters){.arena = arena, .max = max};
}

static void make_room(struct dead_letters *letters) {
    letters->place = ARENA_ARRAY(letters->arena, struct kafka_place, letters->max);
    letters->offset = ARENA_ARRAY(letters->arena, int64_t, letters->max);
    letters->value_size = ARENA_ARRAY(letters->arena, int64_t, letters->max);
    letters->coupon_id = ARENA_ARRAY(letters->arena, int64_t, letters->max);
    letters->key = ARENA_ARRAY(letters->arena, struct pg_bytes, letters->max);
    letters->value = ARENA_ARRAY(letters->arena, struct pg_bytes, letters->max);
    letters->reason = ARENA_ARRAY(letters->arena, const char *, letters->max);
}

/* Returns the id that a key holds in decimal, as couponsd writes its keys, or 0 for any other key. */
static int64_t id_of_key(const char *key, size_t len) {
    int64_t id = 0;
    for (size_t i = 0; i < len; i++)
        if (key[i] < '0' || key[i] > '9' || __builtin_mul_overflow(id, 10, &id) ||
            __builtin_add_overflow(id, key[i] - '0', &id))
            return 0;
    return id;
}

static struct pg_bytes beginning(const void *bytes, size_t len, size_t max) {
    return (struct pg_bytes){bytes, len < max ? len : max};
}

void dead_letters_put(struct dead_letters *letters, const struct kafka_message *message, int64_t coupon_id,
                      const char *reason) {
    size_t at = letters->n++;
    if (at == 0)
        make_room(letters);
    letters->place[at] = message->place;
    letters->offset[at] = message->offset;
    letters->value_size[at] = (int64_t)message->value_len;
    letters->coupon_id[at] = coupon_id ? coupon_id : id_of_key(message->key, message->key ? message->key_len : 0);
    letters->key[at] = beginning(message->key, message->key_len, DEAD_LETTER_KEY_MAX);
    letters->value[at] = beginning(message->value, message->value_len, DEAD_LETTER_VALUE_MAX);
    letters->reason[at] = reason;
}

void dead_letters_send_add(struct pg *pg, struct arena *arena, const struct dead_letters *letters) {
    static const struct pg_statement insert = {
        "insert into dead_letter (topic, partition, message_offset, key, value, value_size, reason, coupon_id,"
        " create_time)"
        " select i.topic, i.partition, i.message_offset, i.key, i.value, i.value_size, i.reason,"
        "  nullif(i.coupon_id, 0), clock_timestamp()"
        " from unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bigint[], $7::text[],"
        "  $8::bigint[]) i(topic, partition, message_offset, key, value, value_size, reason, coupon_id)"
        " on conflict do nothing"};
    const char **topic = ARENA_ARRAY(arena, const char *, letters->n);
    int32_t *partition = ARENA_ARRAY(arena, int32_t, letters->n);
    for (size_t i = 0; i < letters->n; i++) {
        topic[i] = letters->place[i].topic;
        partition[i] = letters->place[i].partition;
    }
    struct pg_args args = {0};
    pg_arg_texts(&args, arena, topic, letters->n);
    pg_arg_int4s(&args, arena, partition, letters->n);
    pg_arg_int8s(&args, arena, letters->offset, letters->n);
    pg_arg_byteas(&args, arena, letters->key, letters->n);
    pg_arg_byteas(&args, arena, letters->value, letters->n);
    pg_arg_int8s(&args, arena, letters->value_size, letters->n);
    pg_arg_texts(&args, arena, letters->reason, letters->n);
    pg_arg_int8s(&args, arena, letters->coupon_id, letters->n);
    pg_send(pg, &insert, &args);
}

bool dead_letters_add(struct pg *pg, struct arena *arena, const struct dead_letters *letters, struct err *err) {
    PGresult *result;
    dead_letters_send_add(pg, arena, letters);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    pg_clear(&result, 1);
    return true;
}

/* --- administration --- */

/* The columns that read_letter reads, in its order. */
#define COLUMNS                                                                                                        \
    "id, topic, partition, message_offset, reason, coalesce(coupon_id, 0), create_time, replay_time,"                  \
    " greatest(value_size, octet_length(value), 0)::bigint"

static void read_letter(const PGresult *result, int row, struct arena *arena, struct dead_letter *ret) {
    *ret = (struct dead_letter){
        .id = pg_int8(result, row, 0),
        .topic = arena_strdup(arena, PQgetvalue(result, row, 1)),
        .partition = pg_int4(result, row, 2),
        .offset = pg_int8(result, row, 3),
        .reason = arena_strdup(arena, PQgetvalue(result, row, 4)),
        .coupon_id = pg_int8(result, row, 5),
        .create_us = pg_time(result, row, 6, 0),
        .replay_us = pg_time(result, row, 7, INT64_MIN),
        .value_size = pg_int8(result, row, 8),
    };
}

static struct pg_bytes read_bytes(const PGresult *result, int row, int column, struct arena *arena) {
    size_t len = (size_t)PQgetlength(result, row, column);
    if (PQgetisnull(result, row, column))
        return (struct pg_bytes){0};
    return (struct pg_bytes){memcpy(arena_alloc(arena, len + 1), PQgetvalue(result, row, column), len), len};
}

bool dead_letters_list(struct pg *pg, struct arena *arena, struct dead_letter_page *page, struct err *err) {
    static const struct pg_statement all = {"select " COLUMNS " from dead_letter where id > $1 order by id limit $2"};
    static const struct pg_statement of_coupon = {
        "select " COLUMNS " from dead_letter where id > $1 and coupon_id = $3 order by id limit $2"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, page->after);
    pg_arg_int8(&args, arena, (int64_t)page->room);
    if (page->coupon_id)
        pg_arg_int8(&args, arena, page->coupon_id);
    PGresult *result;
    pg_send(pg, page->coupon_id ? &of_coupon : &all, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    page->n = (size_t)PQntuples(result);
    for (int row = 0; row < PQntuples(result); row++)
        read_letter(result, row, arena, &page->letters[row]);
    pg_clear(&result, 1);
    return true;
}

bool dead_letters_get(struct pg *pg, struct arena *arena, int64_t id, bool *ret_found, struct dead_letter *ret,
                      struct err *err) {
    static const struct pg_statement get = {"select " COLUMNS ", key, value from dead_letter where id = $1"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, id);
    PGresult *result;
    pg_send(pg, &get, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    *ret_found = PQntuples(result) == 1;
    if (*ret_found) {
        read_letter(result, 0, arena, ret);
        ret->key = read_bytes(result, 0, 9, arena);
        ret->value = read_bytes(result, 0, 10, arena);
    }
    pg_clear(&result, 1);
    return true;
}

bool dead_letters_ids(struct pg *pg, struct arena *arena, struct dead_letter_ids *ids, struct err *err) {
    static const struct pg_statement read = {
        "select id from dead_letter where id between $1 and $2 order by id limit $3"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, ids->first);
    pg_arg_int8(&args, arena, ids->last);
    pg_arg_int8(&args, arena, (int64_t)ids->room);
    PGresult *result;
    pg_send(pg, &read, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    ids->n = (size_t)PQntuples(result);
    for (int row = 0; row < PQntuples(result); row++)
        ids->id[row] = pg_int8(result, row, 0);
    pg_clear(&result, 1);
    return true;
}

/* The lane that an event is appended to, as read under its lock. If there is no event, heads.n is 0. */
struct locked_lane {
    struct outbox_heads heads;
    int segment;
    int64_t now_us;
};

/* Begins the transaction and marks the letter. If there is an event to append, takes the lane's lock. *ret_first: the
 * letter was not marked before. */
static bool begin_replay(struct pg *pg, struct arena *arena, int64_t id, struct locked_lane *lane, bool *ret_first,
                         struct err *err) {
    static const struct pg_statement mark = {
        "update dead_letter set replay_time = clock_timestamp() where id = $1 and replay_time is null returning 1"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, id);
    PGresult *results[2 + OUTBOX_LOCK_STATEMENTS];
    int n = 2;
    pg_send(pg, &pg_begin, NULL);
    pg_send(pg, &mark, &args);
    if (lane->heads.n) {
        outbox_send_lock(pg, arena, STREAM_REQUESTED, &lane->heads);
        n += OUTBOX_LOCK_STATEMENTS;
    }
    if (!pg_collect(pg, results, n, err))
        return false;
    *ret_first = PQntuples(results[1]) == 1;
    if (lane->heads.n)
        outbox_read_lock(&results[2], &lane->heads, &lane->segment, &lane->now_us);
    pg_clear(results, n);
    return true;
}

bool dead_letters_replay(struct pg *pg, struct arena *arena, int lanes, struct dead_letter_replay *replay,
                         struct err *err) {
    const struct outbox_event *event = replay->event;
    struct locked_lane lane = {0};
    struct outbox_batch batch;
    bool first;
    if (event)
        outbox_heads_init(&lane.heads, arena, &event->coupon_id, 1, lanes);
    if (!begin_replay(pg, arena, replay->id, &lane, &first, err))
        return false;
    PGresult *results[1 + OUTBOX_APPEND_STATEMENTS];
    int n = 1;
    if (event && first) {
        outbox_batch_init(&batch, arena, &lane.heads);
        outbox_put(&batch, murmur2_slot_of_id(event->coupon_id, lanes), event);
        outbox_send_append(pg, arena, STREAM_REQUESTED, lane.segment, &batch, lane.now_us);
        n += OUTBOX_APPEND_STATEMENTS;
    }
    pg_send(pg, &pg_commit, NULL);
    if (!pg_collect(pg, results, n, err))
        return false;
    pg_clear(results, n);
    replay->first = first;
    return true;
}

static bool run_delete(struct pg *pg, const struct pg_statement *statement, const struct pg_args *args, int64_t *ret_n,
                       struct err *err) {
    PGresult *result;
    pg_send(pg, statement, args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    *ret_n = pg_int8(result, 0, 0);
    pg_clear(&result, 1);
    return true;
}

bool dead_letters_drop(struct pg *pg, struct arena *arena, int64_t first, int64_t last, int64_t *ret_n,
                       struct err *err) {
    static const struct pg_statement drop = {
        "with d as (delete from dead_letter where id between $1 and $2 returning 1) select count(*) from d"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, first);
    pg_arg_int8(&args, arena, last);
    return run_delete(pg, &drop, &args, ret_n, err);
}

bool dead_letters_trim(struct pg *pg, struct arena *arena, int64_t keep, int64_t *ret_n, struct err *err) {
    /* Ids ascend, with gaps, so at most `keep` letters have an id above max(id) - keep. */
    static const struct pg_statement trim = {
        "with d as (delete from dead_letter where id <= least((select max(id) from dead_letter) - $1,"
        " (select min(id) from dead_letter) + $2) returning 1) select count(*) from d"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, keep);
    pg_arg_int8(&args, arena, TRIM_ROWS);
    return run_delete(pg, &trim, &args, ret_n, err);
}

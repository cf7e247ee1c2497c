/* SPDX-License-Identifier: Apache-2.0 */
#include "store/topics.h"

/* Runs one statement. Returns its result, or NULL on failure. */
static PGresult *query(struct pg *pg, const struct pg_statement *statement, const struct pg_args *args,
                       struct err *err) {
    PGresult *result;
    pg_send(pg, statement, args);
    return pg_collect(pg, &result, 1, err) ? result : NULL;
}

static bool run(struct pg *pg, const struct pg_statement *statement, const struct pg_args *args, struct err *err) {
    PGresult *result = query(pg, statement, args, err);
    if (!result)
        return false;
    pg_clear(&result, 1);
    return true;
}

bool topics_versions(struct pg *pg, struct topic_version ret[static TOPIC_VERSIONS_MAX], size_t *ret_n,
                     struct err *err) {
    static const struct pg_statement read = {
        "select v.version, v.partitions,"
        " count(k.lane) filter (where k.stream = 0), count(k.lane) filter (where k.stream = 1)"
        " from topic_version v left join relay_cursor k on k.version = v.version and k.stream = v.stream"
        " group by v.version, v.partitions order by v.version"};
    PGresult *result = query(pg, &read, NULL, err);
    if (!result)
        return false;
    size_t n = 0;
    for (int row = 0; row < PQntuples(result) && n < TOPIC_VERSIONS_MAX; row++)
        ret[n++] = (struct topic_version){
            .version = pg_int4(result, row, 0),
            .partitions = pg_int4(result, row, 1),
            .lanes = {(int)pg_int8(result, row, 2), (int)pg_int8(result, row, 3)},
        };
    pg_clear(&result, 1);
    *ret_n = n;
    return true;
}

bool topics_target(struct pg *pg, struct topic_target *ret, struct err *err) {
    static const struct pg_statement read = {
        "select t.stream, t.version, t.paused, count(k.lane), coalesce(min(k.lane), -1) from topic_target t"
        " left join relay_cursor k on k.stream = t.stream and k.version <> t.version"
        " group by t.stream, t.version, t.paused"};
    PGresult *result = query(pg, &read, NULL, err);
    if (!result)
        return false;
    for (int row = 0; row < PQntuples(result); row++) {
        int stream = pg_int2(result, row, 0);
        ret->version = pg_int4(result, row, 1);
        ret->paused = pg_bool(result, row, 2);
        ret->lanes_left[stream] = (int)pg_int8(result, row, 3);
        ret->next_lane[stream] = pg_int4(result, row, 4);
    }
    pg_clear(&result, 1);
    return true;
}

bool topics_add_version(struct pg *pg, int version, int partitions, struct err *err) {
    static const struct pg_statement add = {
        "insert into topic_version (stream, version, partitions) select s, $1, $2 from generate_series(0, 1) s"
        " where (select count(distinct version) from topic_version where version <> $1) < $3 on conflict do nothing"
        " returning stream"};
    static const struct pg_statement find = {"select 1 from topic_version where version = $1"};
    struct arena arena;
    arena_init(&arena, 256);
    struct pg_args args = {0}, find_args = {0};
    pg_arg_int4(&args, &arena, version);
    pg_arg_int4(&args, &arena, partitions);
    pg_arg_int4(&args, &arena, TOPIC_VERSIONS_MAX - 1);
    pg_arg_int4(&find_args, &arena, version);
    PGresult *results[2];
    pg_send(pg, &add, &args);
    pg_send(pg, &find, &find_args);
    bool ok = pg_collect(pg, results, 2, err);
    if (ok) {
        if (PQntuples(results[1]) == 0)
            ok = err_set(err, ERR_CONFLICT, BACKEND_POSTGRES,
                         "there are %d versions already: delete a drained version first", TOPIC_VERSIONS_MAX - 1);
        pg_clear(results, 2);
    }
    arena_deinit(&arena);
    return ok;
}

bool topics_set_target(struct pg *pg, int version, struct err *err) {
    static const struct pg_statement set = {
        "update topic_target set version = $1, paused = false, change_time = clock_timestamp()"};
    struct arena arena;
    arena_init(&arena, 256);
    struct pg_args args = {0};
    pg_arg_int4(&args, &arena, version);
    bool ok = run(pg, &set, &args, err);
    arena_deinit(&arena);
    return ok;
}

bool topics_set_paused(struct pg *pg, bool paused, struct err *err) {
    static const struct pg_statement set = {"update topic_target set paused = $1, change_time = clock_timestamp()"};
    struct arena arena;
    arena_init(&arena, 256);
    struct pg_args args = {0};
    pg_arg_bool(&args, &arena, paused);
    bool ok = run(pg, &set, &args, err);
    arena_deinit(&arena);
    return ok;
}

bool topics_lane_moved(struct pg *pg, enum stream stream, int lane, int version, struct err *err) {
    static const struct pg_statement move = {"update relay_cursor set version = $3 where stream = $1 and lane = $2"};
    struct arena arena;
    arena_init(&arena, 256);
    struct pg_args args = {0};
    pg_arg_int2(&args, &arena, (int16_t)stream);
    pg_arg_int4(&args, &arena, lane);
    pg_arg_int4(&args, &arena, version);
    bool ok = run(pg, &move, &args, err);
    arena_deinit(&arena);
    return ok;
}

bool topics_issued(struct pg *pg, const char *topic, int n, int64_t *ret_next, struct err *err) {
    static const struct pg_statement read = {"select partition, next_offset from consumer_offset where topic = $1"};
    struct pg_args args = {0};
    pg_arg_text(&args, topic);
    PGresult *result = query(pg, &read, &args, err);
    if (!result)
        return false;
    for (int i = 0; i < n; i++)
        ret_next[i] = -1;
    for (int row = 0; row < PQntuples(result); row++)
        if (pg_int4(result, row, 0) < n)
            ret_next[pg_int4(result, row, 0)] = pg_int8(result, row, 1);
    pg_clear(&result, 1);
    return true;
}

bool topics_restart(struct pg *pg, const char *topic, struct err *err) {
    static const struct pg_statement restart = {
        "update consumer_offset set next_offset = 0 where topic = $1 and next_offset > 0"};
    struct pg_args args = {0};
    pg_arg_text(&args, topic);
    return run(pg, &restart, &args, err);
}

bool topics_forget(struct pg *pg, const char *const *topics, size_t n, int version, struct err *err) {
    static const struct pg_statement offsets = {"delete from consumer_offset where topic = any ($1::text[])"};
    static const struct pg_statement forget = {"delete from topic_version where version = $1"};
    struct arena arena;
    arena_init(&arena, 1024);
    struct pg_args offsets_args = {0}, args = {0};
    PGresult *results[4];
    pg_arg_texts(&offsets_args, &arena, topics, n);
    pg_arg_int4(&args, &arena, version);
    pg_send(pg, &pg_begin, NULL);
    pg_send(pg, &offsets, &offsets_args);
    pg_send(pg, &forget, &args);
    pg_send(pg, &pg_commit, NULL);
    bool ok = pg_collect(pg, results, 4, err);
    if (ok)
        pg_clear(results, 4);
    arena_deinit(&arena);
    return ok;
}

bool topics_coupon_waiting(struct pg *pg, int64_t coupon_id, int64_t *ret_rows, struct err *err) {
#define ARE_WAITING " and k.lane = o.lane where o.id > k.last_id and position(int8send($1) in o.events) > 0"
    static const struct pg_statement count = {
        "select count(*) from ("
        "select 1 from outbox_requested_0 o join relay_cursor k on k.stream = 0" ARE_WAITING
        " union all select 1 from outbox_requested_1 o join relay_cursor k on k.stream = 0" ARE_WAITING
        " union all select 1 from outbox_published_0 o join relay_cursor k on k.stream = 1" ARE_WAITING
        " union all select 1 from outbox_published_1 o join relay_cursor k on k.stream = 1" ARE_WAITING ") w"};
#undef ARE_WAITING
    struct arena arena;
    arena_init(&arena, 256);
    struct pg_args args = {0};
    pg_arg_int8(&args, &arena, coupon_id);
    PGresult *result = query(pg, &count, &args, err);
    bool ok = result != NULL;
    if (ok) {
        *ret_rows = pg_int8(result, 0, 0);
        pg_clear(&result, 1);
    }
    arena_deinit(&arena);
    return ok;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/instances.h"

bool instances_tell(struct pg *pg, const struct instance *self, struct err *err) {
    static const struct pg_statement tell = {
        "insert into instance (id, host, grpc_address, http_address, version, start_time, seen_time)"
        " values ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp())"
        " on conflict (id) do update set seen_time = clock_timestamp()"};
    static const struct pg_statement forget = {
        "delete from instance where seen_time < clock_timestamp() - interval '1 day'"};
    struct pg_args args = {0};
    pg_arg_text(&args, self->id);
    pg_arg_text(&args, self->host);
    pg_arg_text(&args, self->grpc_address);
    pg_arg_text(&args, self->http_address);
    pg_arg_text(&args, self->version);
    PGresult *results[2];
    pg_send(pg, &tell, &args);
    pg_send(pg, &forget, NULL);
    if (!pg_collect(pg, results, 2, err))
        return false;
    pg_clear(results, 2);
    return true;
}

bool instances_list(struct pg *pg, struct arena *arena, struct instance_page *page, struct err *err) {
    static const struct pg_statement list = {
        "select id, host, grpc_address, http_address, version, start_time, seen_time, clock_timestamp() from instance"
        " order by seen_time desc limit $1"};
    struct pg_args args = {0};
    PGresult *result;
    pg_arg_int8(&args, arena, (int64_t)page->room);
    pg_send(pg, &list, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    page->n = (size_t)PQntuples(result);
    page->now_us = 0;
    for (int i = 0; i < PQntuples(result); i++) {
        page->instances[i] = (struct instance){
            .id = arena_strdup(arena, PQgetvalue(result, i, 0)),
            .host = arena_strdup(arena, PQgetvalue(result, i, 1)),
            .grpc_address = arena_strdup(arena, PQgetvalue(result, i, 2)),
            .http_address = arena_strdup(arena, PQgetvalue(result, i, 3)),
            .version = arena_strdup(arena, PQgetvalue(result, i, 4)),
            .start_us = pg_time(result, i, 5, 0),
            .seen_us = pg_time(result, i, 6, 0),
        };
        page->now_us = pg_time(result, i, 7, 0);
    }
    pg_clear(&result, 1);
    return true;
}

bool instances_forget(struct pg *pg, const char *id, struct err *err) {
    static const struct pg_statement forget = {"delete from instance where id = $1"};
    struct pg_args args = {0};
    PGresult *result;
    pg_arg_text(&args, id);
    pg_send(pg, &forget, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    pg_clear(&result, 1);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool query_int(struct pg *pg, const struct pg_statement *statement, const struct pg_args *args, int64_t if_none,
                      int64_t *ret, struct err *err) {
    PGresult *result;
    pg_send(pg, statement, args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    *ret = PQntuples(result) ? pg_int8(result, 0, 0) : if_none;
    pg_clear(&result, 1);
    return true;
}

/* While a statement waits for the lock of a whole table, every later statement on the table waits behind it. So a
 * migration waits for at most LOCK_WAIT_MS, and not e.g. until a backup ends. Once it has the lock, it may run long. */
#define LOCK_WAIT_MS "200"
#define BEGIN        "begin; set local lock_timeout = " LOCK_WAIT_MS "; set local statement_timeout = 0"

/* Locks all tables by one statement, which holds the locks that it has while it waits for the others. The statement
 * time-out covers the whole wait. It also resolves a deadlock with another transaction, long before Postgres would. */
static bool lock_tables(struct pg *pg, const char *tables, struct err *err) {
    char sql[1024];
    if (!tables)
        return true;
    int n = snprintf(sql, sizeof sql,
                     "set local statement_timeout = " LOCK_WAIT_MS "; lock table %s in access exclusive mode;"
                     " set local statement_timeout = 0",
                     tables);
    if (n >= (int)sizeof sql)
        abort(); /* a defect: the declaration of a migration in this repository is too long */
    return pg_exec(pg, sql, err);
}

static bool apply(struct pg *pg, const struct migration *migration, struct err *err) {
    static const struct pg_statement record = {"insert into schema_migration (version, name) values ($1, $2)"};
    static const struct pg_statement record_oldest = {
        "insert into setting (key, value) select 'schema.oldest.' || $1::integer, greatest($2::integer,"
        " (select max(value::integer) from setting where key like 'schema.oldest.%'))::text"};
    struct arena arena;
    arena_init(&arena, 256);
    struct pg_args args = {0};
    pg_arg_int4(&args, &arena, migration->version);
    pg_arg_text(&args, migration->name);
    struct pg_args oldest_args = {0};
    pg_arg_int4(&oldest_args, &arena, migration->version);
    pg_arg_int4(&oldest_args, &arena, migration->oldest);
    PGresult *results[3];
    struct err cause;
    bool ok = pg_exec(pg, BEGIN, &cause) && lock_tables(pg, migration->locks, &cause) &&
              pg_exec_long(pg, migration->sql, &cause);
    if (ok) {
        pg_send(pg, &record, &args);
        pg_send(pg, &record_oldest, &oldest_args);
        pg_send(pg, &pg_commit, NULL);
        ok = pg_collect(pg, results, 3, &cause);
        if (ok)
            pg_clear(results, 3);
    } else if (pg_is_connected(pg)) {
        pg_exec(pg, "rollback", NULL);
    }
    if (!ok) {
        err_set(err, cause.code, BACKEND_POSTGRES, "migration %04d_%s: %s", migration->version, migration->name,
                cause.text);
    }
    arena_deinit(&arena);
    return ok;
}

static bool migrate_locked(struct pg *pg, struct err *err) {
    static const struct pg_statement newest = {
        "select version::bigint from schema_migration order by version desc limit 1"};
    /* If no oldest version is recorded for the database's version, only couponsd that know that version may use it. */
    static const struct pg_statement oldest = {
        "select value::bigint from setting where key = 'schema.oldest.' || $1::integer"};
    struct arena arena;
    struct pg_args args = {0};
    if (!pg_exec(pg,
                 "create table if not exists schema_migration ("
                 " version integer primary key, name text not null, apply_time timestamptz not null default now())",
                 err))
        return false;
    int64_t have, needed, newest_known = migrations[n_migrations - 1].version;
    if (!query_int(pg, &newest, NULL, 0, &have, err))
        return false;
    arena_init(&arena, 256);
    pg_arg_int4(&args, &arena, (int32_t)have);
    bool asked = have <= newest_known || query_int(pg, &oldest, &args, have, &needed, err);
    arena_deinit(&arena);
    if (!asked)
        return false;
    if (have > newest_known && needed > newest_known)
        return err_set(
            err, ERR_INVALID, BACKEND_POSTGRES,
            "the database's schema is at version %lld; this couponsd knows version %lld, but would have to know "
            "%lld: start a newer couponsd",
            (long long)have, (long long)newest_known, (long long)needed);
    for (int i = 0; i < n_migrations; i++)
        if (migrations[i].version > have && !apply(pg, &migrations[i], err))
            return false;
    return true;
}

/* Refuses a database that can't store every text that clients may send. Otherwise such a text would fail later, and
 * with it the requests that share its transaction. SQL_ASCII stores texts as they are. */
static bool check_encoding(const struct pg *pg, struct err *err) {
    const char *encoding = pg_server_encoding(pg);
    if (!encoding || strcmp(encoding, "UTF8") == 0 || strcmp(encoding, "SQL_ASCII") == 0)
        return true;
    return err_set(err, ERR_INVALID, BACKEND_POSTGRES,
                   "the database's encoding is %s, which does not have every character that a request_id or a name may "
                   "have: use a database that was created with: encoding 'UTF8' template template0",
                   encoding);
}

bool schema_migrate(struct pg *pg, struct err *err) {
    char sql[96];
    if (!check_encoding(pg, err))
        return false;
    long long key = (long long)pg_lock_key(pg, PG_LOCK_MIGRATE, 0);
    snprintf(sql, sizeof sql, "select pg_advisory_lock(%lld)", key);
    if (!pg_exec(pg, sql, err))
        return false;
    bool ok = migrate_locked(pg, err);
    snprintf(sql, sizeof sql, "select pg_advisory_unlock(%lld)", key);
    if (pg_is_connected(pg))
        pg_exec(pg, sql, NULL);
    return ok;
}

bool schema_fix_lanes(struct pg *pg, int lanes, struct err *err) {
    static const struct pg_statement record = {
        "insert into setting (key, value) values ('flow.lanes', $1::integer::text) on conflict do nothing"};
    static const struct pg_statement read = {"select value::bigint from setting where key = 'flow.lanes'"};
    static const struct pg_statement heads = {
        "insert into outbox_head (stream, lane, last_id)"
        " select s, l, 0 from generate_series(0, 1) s, generate_series(0, $1::integer - 1) l"
        " on conflict do nothing"};
    static const struct pg_statement cursors = {
        "insert into relay_cursor (stream, lane, last_id)"
        " select s, l, 0 from generate_series(0, 1) s, generate_series(0, $1::integer - 1) l"
        " on conflict do nothing"};
    static const struct pg_statement segments = {
        "insert into outbox_segment (stream, current, rotate_time)"
        " select s, 0, now() from generate_series(0, 1) s on conflict do nothing"};
    struct arena arena;
    arena_init(&arena, 256);
    struct pg_args args = {0};
    pg_arg_int4(&args, &arena, lanes);
    PGresult *results[5];
    pg_send(pg, &record, &args);
    pg_send(pg, &read, NULL);
    pg_send(pg, &heads, &args);
    pg_send(pg, &cursors, &args);
    pg_send(pg, &segments, NULL);
    bool ok = pg_collect(pg, results, 5, err);
    if (ok) {
        int64_t have = pg_int8(results[1], 0, 0);
        if (have != lanes)
            ok = err_set(err, ERR_INVALID, BACKEND_POSTGRES,
                         "flow.lanes = %d, but this database was set up with %lld: set flow.lanes = %lld", lanes,
                         (long long)have, (long long)have);
        pg_clear(results, 5);
    }
    arena_deinit(&arena);
    return ok;
}

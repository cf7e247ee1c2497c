/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to Postgres, used by one thread.
 *
 * A step sends the statements of a round trip one after the other (pg_send) and collects their results at once
 * (pg_collect): libpq's pipeline mode, prepared statements, binary values both ways. Statements are prepared on first
 * use of a connection and again after a reconnect.
 *
 * Any failure of the connection itself (lost, refused, silent for longer than the statement time-out) closes it; the
 * next pg_connect opens a new one. What an interrupted COMMIT did is for the caller to find out. */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct pg;

struct pg_options {
    const char *url; /* conninfo or URI; must outlive */
    const char *application_name;
    int connect_timeout_s;
    int statement_timeout_ms;
    /* Postgres ends the session after this time without a statement, which frees its session locks: those of a process
     * that was stopped, or whose machine is gone. 0: never. The owner of the connection sends statements more often. */
    int idle_timeout_ms;
    /* Plans of hot statements must not depend on statistics: nested loops over indexes only, one generic plan. */
    bool hot;
};

/* Whether libpq can read it; without connecting, and without repeating any of it. */
bool pg_check_url(const char *url, struct err *err);

struct pg *pg_new(const struct pg_options *options);
void pg_free(struct pg *pg); /* NULL is fine */

/* Connects unless connected. Blocks for up to the connect time-out. A server that has just been silent for that long,
 * or throughout a round trip, is not tried again for a moment: what has queued meanwhile is refused at once. */
bool pg_connect(struct pg *pg, struct err *err);
bool pg_is_connected(const struct pg *pg);
void pg_disconnect(struct pg *pg);

/* From now on a round trip is given up at this time (clock_mono_us), if not for the usual reason before. */
void pg_give_up_at(struct pg *pg, int64_t mono_us);

/* Counts up with each new connection; what depended on the session (locks) is gone when it has changed. */
uint64_t pg_generation(const struct pg *pg);

/* The advisory lock's key of (stage, lane), apart from that of other schemas in the same database. Connected only. */
enum pg_lock_stage {
    PG_LOCK_MIGRATE = 1,
    PG_LOCK_ADMIT,
    PG_LOCK_ISSUE,
    PG_LOCK_RELAY_REQUESTED,
    PG_LOCK_RELAY_PUBLISHED,
    PG_LOCK_RECONCILE
};
int64_t pg_lock_key(const struct pg *pg, enum pg_lock_stage stage, int lane);

/* Identified by its address: keep it static. */
struct pg_statement {
    const char *sql;
};

/* The parameters of one statement. Values point into the arena or at the caller's memory until pg_collect. */
#define PG_MAX_ARGS 12
struct pg_args {
    int n;
    Oid types[PG_MAX_ARGS];
    const char *values[PG_MAX_ARGS];
    int lengths[PG_MAX_ARGS];
};

void pg_arg_int2(struct pg_args *args, struct arena *arena, int16_t value);
void pg_arg_int4(struct pg_args *args, struct arena *arena, int32_t value);
void pg_arg_int8(struct pg_args *args, struct arena *arena, int64_t value);
void pg_arg_bool(struct pg_args *args, struct arena *arena, bool value);
void pg_arg_float8(struct pg_args *args, struct arena *arena, double value);
void pg_arg_text(struct pg_args *args, const char *value);                    /* NULL is SQL's null */
void pg_arg_time(struct pg_args *args, struct arena *arena, int64_t wall_us); /* INT64_MIN and INT64_MAX: null */
void pg_arg_int4s(struct pg_args *args, struct arena *arena, const int32_t *values, size_t n);
void pg_arg_int8s(struct pg_args *args, struct arena *arena, const int64_t *values, size_t n);
void pg_arg_times(struct pg_args *args, struct arena *arena, const int64_t *wall_us, size_t n);
void pg_arg_texts(struct pg_args *args, struct arena *arena, const char *const *values, size_t n); /* NULLs are nulls */
struct pg_bytes {
    const void *data; /* NULL is SQL's null */
    size_t len;
};
void pg_arg_byteas(struct pg_args *args, struct arena *arena, const struct pg_bytes *values, size_t n);

/* Queues a statement for the round trip. `args` may be NULL. A failure shows in pg_collect. */
void pg_send(struct pg *pg, const struct pg_statement *statement, const struct pg_args *args);

/* Sends what is queued and waits for all of it. True: results[0..n) are those of the n statements sent, in order, to be
 * freed by pg_clear. False: *err says why, nothing is to be freed, an open transaction has been rolled back, or the
 * connection closed (pg_is_connected tells). */
bool pg_collect(struct pg *pg, PGresult **results, int n, struct err *err);
void pg_clear(PGresult **results, int n);

/* Plain SQL without parameters, several statements allowed; for set-up. */
bool pg_exec(struct pg *pg, const char *sql, struct err *err);
/* The same for what may take longer than the statement time-out, once that is set aside. */
bool pg_exec_long(struct pg *pg, const char *sql, struct err *err);

extern const struct pg_statement pg_begin, pg_commit, pg_rollback;

/* Reading binary results. */
int64_t pg_int8(const PGresult *result, int row, int column);
int32_t pg_int4(const PGresult *result, int row, int column);
int16_t pg_int2(const PGresult *result, int row, int column);
bool pg_bool(const PGresult *result, int row, int column);
double pg_float8(const PGresult *result, int row, int column);
/* Microseconds since 1970; `if_null` where it is null. */
int64_t pg_time(const PGresult *result, int row, int column, int64_t if_null);

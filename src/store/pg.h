/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to Postgres, used by one thread.
 *
 * A step sends the statements of a round trip one by one (pg_send), and then collects all their results (pg_collect).
 * This uses libpq's pipeline mode, prepared statements, and binary parameters and results. A connection prepares each
 * statement at its first use.
 *
 * If the connection fails (lost, refused, or silent for 2 s beyond the statement time-out), or Postgres reports that
 * its session can't go on, e.g. since the server has become read-only (store/sqlstate.h), it is closed, and the next
 * pg_connect opens a new one. After an interrupted COMMIT, the caller has to find out whether Postgres has
 * committed. */
#pragma once

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct pg;

struct pg_options {
    const char *url; /* conninfo or URI; must outlive the connection */
    /* The file that `url` was read from, or NULL. Each attempt to connect reads it again, so that a password can be
     * rotated. While the file is missing or can't be used, the last URL counts. Must outlive the connection. */
    const char *url_file;
    /* Of a URL with several hosts: which one the last connection of the process has reached, and where the next one
     * begins. NULL: each begins with the first. Must outlive the connection. */
    atomic_int *first_host;
    const char *application_name;
    int connect_timeout_s; /* for all hosts together; the URL may override it */
    int statement_timeout_ms;
    /* Postgres ends the session after this time without a statement. This frees the session locks of a process that was
     * stopped, or whose machine has failed. The connection's owner must send statements more often. 0: never. */
    int idle_timeout_ms;
    /* Statements use one generic plan with nested loops over indexes only, so that plans do not depend on
     * statistics. */
    bool hot;
};

/* Returns true if libpq can parse the URL. Does not connect. The error never repeats a part of the URL. */
bool pg_check_url(const char *url, struct err *err);

struct pg *pg_new(const struct pg_options *options);
void pg_free(struct pg *pg); /* NULL is fine */

/* Connects unless connected, to a server that takes writes. Blocks for up to the connect time-out, however many hosts
 * the URL has, and even if no name server answers. Then it sets up the session.
 *
 * Every failure is retriable (ERR_UNAVAILABLE), whatever its reason: a wrong password may be in rotation, and a missing
 * database may be restored soon. After a failure, pg_connect fails at once for the next 100 ms, or 250 ms if the server
 * was silent during an attempt or a round trip. So requests that have queued meanwhile are refused at once, and the
 * server is not flooded with attempts. */
bool pg_connect(struct pg *pg, struct err *err);
/* Asks the server whether the session may write. If not, closes the connection, and fails with ERR_UNAVAILABLE.
 * Requires a connection. */
bool pg_check_writable(struct pg *pg, struct err *err);
/* Returns the name of the database's encoding, e.g. "UTF8", or NULL if a pooler hides it. Requires a connection. Valid
 * while connected. */
const char *pg_server_encoding(const struct pg *pg);
/* Names the session of Postgres that has answered this question. Without a pooler, or in a pooler's session mode, it is
 * the same for as long as the connection lasts, and no other connection has it. Requires a connection. */
#define PG_SESSION_SIZE 80
bool pg_session(struct pg *pg, char ret[static PG_SESSION_SIZE], struct err *err);
bool pg_is_connected(const struct pg *pg);
void pg_disconnect(struct pg *pg);

/* Sets the time (clock_mono_us) at which later attempts to connect and round trips give up on a silent server. Round
 * trips give up earlier if the statement time-out and 2 s pass. An attempt to connect has at least 1 s, and the
 * connection is not given up before 1 s after it was opened: otherwise a server that is only slow would never get a
 * connection. */
void pg_give_up_at(struct pg *pg, int64_t mono_us);

/* The number of connections opened so far. If it has changed, the session locks of the earlier connection are gone. */
uint64_t pg_generation(const struct pg *pg);

/* Returns the key of the advisory lock for a stage and a lane. Schemas in the same database have different keys.
 * Requires a connection. */
enum pg_lock_stage {
    PG_LOCK_MIGRATE = 1,
    PG_LOCK_ADMIT,
    PG_LOCK_ISSUE,
    PG_LOCK_RELAY_REQUESTED,
    PG_LOCK_RELAY_PUBLISHED,
    PG_LOCK_RECONCILE
};
int64_t pg_lock_key(const struct pg *pg, enum pg_lock_stage stage, int lane);

/* A statement to prepare. Its address identifies it, so it must be static. */
struct pg_statement {
    const char *sql;
};

/* The parameters of one statement. The values point into the arena or into the caller's memory, and must stay valid
 * until pg_send returns. */
#define PG_MAX_ARGS 18
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
void pg_arg_text(struct pg_args *args, const char *value);                    /* NULL: null */
void pg_arg_time(struct pg_args *args, struct arena *arena, int64_t wall_us); /* INT64_MIN and INT64_MAX: null */
void pg_arg_int4s(struct pg_args *args, struct arena *arena, const int32_t *values, size_t n);
void pg_arg_int8s(struct pg_args *args, struct arena *arena, const int64_t *values, size_t n);
void pg_arg_texts(struct pg_args *args, struct arena *arena, const char *const *values, size_t n); /* NULL: null */
struct pg_bytes {
    const void *data; /* NULL: null */
    size_t len;
};
void pg_arg_byteas(struct pg_args *args, struct arena *arena, const struct pg_bytes *values, size_t n);

/* Adds a statement to the round trip. `args` may be NULL. pg_collect reports a failure. */
void pg_send(struct pg *pg, const struct pg_statement *statement, const struct pg_args *args);

/* Ends the round trip and waits for the results of its n statements, in order. On success the caller frees them by
 * pg_clear. On failure there is nothing to free, and an open transaction was rolled back or the connection was closed
 * (pg_is_connected). */
bool pg_collect(struct pg *pg, PGresult **results, int n, struct err *err);
void pg_clear(PGresult **results, int n);

/* Runs one or more SQL statements without parameters, for set-up. */
bool pg_exec(struct pg *pg, const char *sql, struct err *err);
/* Does the same, but never gives up on a silent server. For SQL that has set statement_timeout to 0. */
bool pg_exec_long(struct pg *pg, const char *sql, struct err *err);

extern const struct pg_statement pg_begin, pg_commit, pg_rollback;

/* Read a value of a binary result. */
int64_t pg_int8(const PGresult *result, int row, int column);
int32_t pg_int4(const PGresult *result, int row, int column);
int16_t pg_int2(const PGresult *result, int row, int column);
bool pg_bool(const PGresult *result, int row, int column);
double pg_float8(const PGresult *result, int row, int column);
/* Returns microseconds since 1970, or `if_null` for a null. INT64_MIN is -infinity; INT64_MAX is infinity, or a time
 * that int64_t cannot hold (after the year 294246). */
int64_t pg_time(const PGresult *result, int row, int column, int64_t if_null);

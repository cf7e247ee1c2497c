/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to Postgres; see pg.h. One thread. `is_prepare` records for each message of the round trip whether it is
 * a statement or the Prepare that pg_send has put before it. */
#include "store/pg.h"

#include <endian.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/memory.h"

/* Oids of built-in types, which never change. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_FLOAT8 = 701,
    OID_BYTEA_ARRAY = 1001,
    OID_INT4_ARRAY = 1007,
    OID_TEXT_ARRAY = 1009,
    OID_INT8_ARRAY = 1016,
    OID_TIMESTAMPTZ = 1184,
    OID_TIMESTAMPTZ_ARRAY = 1185,
};

#define MAX_STATEMENTS 48 /* distinct statements on one connection; each stage has fewer than 16 */
#define MAX_EXPECTED   64 /* messages in one round trip */
/* Postgres counts time from 2000-01-01. */
#define PG_EPOCH_US INT64_C(946684800000000)
/* A server that stays silent for this time beyond the statement time-out counts as unreachable. */
#define SILENCE_MARGIN_MS 2000
/* If a failed attempt to connect took at least this time, the server was silent. */
#define SILENT_CONNECT_US US_PER_S
/* The pause before a silent server is tried again. Every caller waits longer than this for the server's return. */
#define SILENT_PAUSE_US (250 * US_PER_MS)
/* A process only computes between the statements of a transaction. If a transaction stays idle for this time, its
 * process was stopped, and Postgres ends the session, so that other processes get its lanes. */
#define IDLE_IN_TRANSACTION_MS 2000

struct pg {
    struct pg_options options;
    PGconn *conn;
    uint64_t generation;
    uint32_t schema_oid;
    const struct pg_statement *prepared[MAX_STATEMENTS];
    int n_prepared;
    bool is_prepare[MAX_EXPECTED];
    int n_expected;
    bool send_failed;
    int64_t give_up_us;      /* set by pg_give_up_at; INT64_MAX: not set */
    int64_t silent_until_us; /* pg_connect fails at once until then */
};

const struct pg_statement pg_begin = {"begin"};
const struct pg_statement pg_commit = {"commit"};
const struct pg_statement pg_rollback = {"rollback"};

struct pg *pg_new(const struct pg_options *options) {
    struct pg *pg = memory_new(1, sizeof *pg);
    pg->options = *options;
    pg->give_up_us = INT64_MAX;
    return pg;
}

void pg_free(struct pg *pg) {
    if (!pg)
        return;
    pg_disconnect(pg);
    free(pg);
}

bool pg_is_connected(const struct pg *pg) {
    return pg->conn != NULL;
}

void pg_give_up_at(struct pg *pg, int64_t mono_us) {
    pg->give_up_us = mono_us;
}

uint64_t pg_generation(const struct pg *pg) {
    return pg->generation;
}

void pg_disconnect(struct pg *pg) {
    if (pg->conn)
        PQfinish(pg->conn);
    pg->conn = NULL;
    pg->n_prepared = pg->n_expected = 0;
    pg->send_failed = false;
}

int64_t pg_lock_key(const struct pg *pg, enum pg_lock_stage stage, int lane) {
    return (int64_t)((uint64_t)pg->schema_oid << 32 | (uint64_t)stage << 24 | (uint32_t)lane);
}

/* Fills *err with the server's message. */
static bool server_error(struct err *err, const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    enum err_code code = ERR_REFUSED;
    bool retriable = false;
    if (state) {
        if (strcmp(state, "42501") == 0 || strncmp(state, "28", 2) == 0)
            code = ERR_PERMISSION;
        /* 40: serialization, deadlock; 53: no resources, e.g. a full disk; 55P03: lock time-out; 57: cancelled, or the
         * server shuts down; 58: system error, e.g. of the disk; 08: connection; 25P03: idle in transaction */
        if (strncmp(state, "40", 2) == 0 || strncmp(state, "53", 2) == 0 || strncmp(state, "57", 2) == 0 ||
            strncmp(state, "58", 2) == 0 || strncmp(state, "08", 2) == 0 || strcmp(state, "55P03") == 0 ||
            strcmp(state, "25P03") == 0) {
            code = ERR_UNAVAILABLE;
            retriable = true;
        }
    }
    err_set(err, code, BACKEND_POSTGRES, "%s%s%s", text ? text : "unknown error", detail ? ": " : "",
            detail ? detail : "");
    if (err) {
        err->retriable = retriable;
        snprintf(err->sqlstate, sizeof err->sqlstate, "%s", state ? state : "");
    }
    return false;
}

static bool connection_error(struct pg *pg, struct err *err) {
    err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", pg->conn ? PQerrorMessage(pg->conn) : "not connected");
    pg_disconnect(pg);
    return false;
}

/* Returns the time at which to give up on a silent server for a request that is sent now. */
static int64_t silence_ends_us(const struct pg *pg) {
    int64_t us = clock_mono_us() + (int64_t)(pg->options.statement_timeout_ms + SILENCE_MARGIN_MS) * US_PER_MS;
    return us < pg->give_up_us ? us : pg->give_up_us;
}

/* Calls PQgetResult, but fails if the server stays silent until give_up_us. */
static bool next_result(struct pg *pg, int64_t give_up_us, PGresult **ret_result, struct err *err) {
    while (PQisBusy(pg->conn)) {
        int64_t left_ms = (give_up_us - clock_mono_us()) / US_PER_MS + 1;
        struct pollfd fd = {.fd = PQsocket(pg->conn), .events = POLLIN};
        if (poll(&fd, 1, left_ms < 0 ? 0 : left_ms < INT_MAX ? (int)left_ms : INT_MAX) == 0) {
            pg->silent_until_us = clock_mono_us() + SILENT_PAUSE_US;
            return err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "the server has been silent for too long");
        }
        if (!PQconsumeInput(pg->conn))
            return err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", PQerrorMessage(pg->conn));
    }
    *ret_result = PQgetResult(pg->conn);
    return true;
}

/* Runs the statements. *ret_result is the result of the last statement, or of the first that failed; the caller clears
 * it in any case. */
static bool run(struct pg *pg, const char *sql, int64_t give_up_us, PGresult **ret_result, struct err *err) {
    bool ok = PQsendQuery(pg->conn, sql) == 1;
    *ret_result = NULL;
    if (!ok)
        return connection_error(pg, err);
    for (;;) {
        PGresult *result = NULL;
        if (!next_result(pg, give_up_us, &result, err)) {
            pg_disconnect(pg);
            return false;
        }
        if (!result)
            break;
        ExecStatusType status = PQresultStatus(result);
        if (ok) {
            PQclear(*ret_result);
            *ret_result = result;
            ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
        } else {
            PQclear(result);
        }
    }
    if (!ok)
        server_error(err, *ret_result);
    if (!ok && PQstatus(pg->conn) != CONNECTION_OK)
        connection_error(pg, err);
    return ok;
}

static bool exec(struct pg *pg, const char *sql, int64_t give_up_us, struct err *err) {
    PGresult *result;
    bool ok = run(pg, sql, give_up_us, &result, err);
    PQclear(result);
    return ok;
}

bool pg_exec(struct pg *pg, const char *sql, struct err *err) {
    return exec(pg, sql, silence_ends_us(pg), err);
}

bool pg_exec_long(struct pg *pg, const char *sql, struct err *err) {
    return exec(pg, sql, INT64_MAX, err);
}

static bool read_schema(struct pg *pg, struct err *err) {
    PGresult *result;
    bool ok = run(pg, "select current_schema()::regnamespace::oid::bigint", silence_ends_us(pg), &result, err);
    if (ok && PQgetisnull(result, 0, 0))
        ok = err_set(err, ERR_INVALID, BACKEND_POSTGRES,
                     "no schema of the search_path exists that this role may use: create it or grant USAGE, or set "
                     "search_path in postgres.url");
    else if (ok)
        pg->schema_oid = (uint32_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return ok;
}

static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

static bool prepare_session(struct pg *pg, struct err *err) {
    char sql[600];
    snprintf(sql, sizeof sql,
             "set statement_timeout = %d; set idle_in_transaction_session_timeout = %d; set idle_session_timeout = %d;"
             "set jit = off; set synchronous_commit = on; set client_min_messages = warning;"
             "set max_parallel_workers_per_gather = 0;%s",
             pg->options.statement_timeout_ms, IDLE_IN_TRANSACTION_MS, pg->options.idle_timeout_ms,
             pg->options.hot ? "set plan_cache_mode = force_generic_plan; set enable_seqscan = off;"
                               "set enable_hashjoin = off; set enable_mergejoin = off; set enable_bitmapscan = off;"
                               "set enable_memoize = off; set enable_material = off"
                             : "");
    return pg_exec(pg, sql, err) && read_schema(pg, err);
}

/* Returns false if libpq has misread a URL. If a password has a special character that is not written as %XX, libpq
 * takes parts of it for port, host or database, and its errors would repeat them. */
static bool is_plausible(const PQconninfoOption *option) {
    if (!option->val)
        return true;
    if (strcmp(option->keyword, "port") == 0)
        return strspn(option->val, "0123456789,") == strlen(option->val);
    if (strcmp(option->keyword, "host") == 0 || strcmp(option->keyword, "dbname") == 0)
        return !strchr(option->val, '@');
    return true;
}

bool pg_check_url(const char *url, struct err *err) {
    char *text = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &text);
    bool ok = options != NULL;
    for (const PQconninfoOption *option = options; ok && option->keyword; option++)
        ok = is_plausible(option);
    PQconninfoFree(options);
    PQfreemem(text); /* not reported, since it may repeat parts of a password */
    return ok || err_set(err, ERR_INVALID, BACKEND_POSTGRES,
                         "libpq does not understand it; write host=… port=… dbname=… user=… password=…, or a URI "
                         "postgres://USER:PASSWORD@HOST:PORT/DB with %%XX for special characters in user and password");
}

bool pg_connect(struct pg *pg, struct err *err) {
    if (pg->conn && PQstatus(pg->conn) == CONNECTION_OK)
        return true;
    pg_disconnect(pg);
    int64_t begin_us = clock_mono_us();
    if (begin_us < pg->silent_until_us)
        return err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "the server was silent a moment ago");
    char timeout[16], silence[16];
    snprintf(timeout, sizeof timeout, "%d", pg->options.connect_timeout_s);
    snprintf(silence, sizeof silence, "%d", pg->options.statement_timeout_ms + SILENCE_MARGIN_MS);
    /* The keywords before dbname are defaults, which the URL may override. */
    const char *keywords[] = {"connect_timeout",  "tcp_user_timeout", "keepalives_idle",
                              "application_name", "dbname",           NULL};
    const char *values[] = {timeout, silence, "10", pg->options.application_name, pg->options.url, NULL};
    pg->conn = PQconnectdbParams(keywords, values, 1);
    if (!pg->conn)
        return err_set(err, ERR_INTERNAL, BACKEND_POSTGRES, "out of memory");
    if (PQstatus(pg->conn) != CONNECTION_OK) {
        const char *text = PQerrorMessage(pg->conn);
        bool refused = strstr(text, "authentication failed") || strstr(text, "does not exist") ||
                       strstr(text, "permission denied") || strstr(text, "no pg_hba.conf entry") ||
                       strstr(text, "invalid connection option") || strstr(text, "invalid URI");
        err_set(err, refused ? ERR_PERMISSION : ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", text);
        if (clock_mono_us() - begin_us >= SILENT_CONNECT_US)
            pg->silent_until_us = clock_mono_us() + SILENT_PAUSE_US;
        pg_disconnect(pg);
        return false;
    }
    PQsetNoticeReceiver(pg->conn, ignore_notice, NULL);
    if (!prepare_session(pg, err)) {
        pg_disconnect(pg);
        return false;
    }
    FAULT_POINT("postgres", "connected");
    pg->generation++;
    return true;
}

/* --- a round trip --- */

static void expect(struct pg *pg, bool is_prepare) {
    if (pg->n_expected == MAX_EXPECTED)
        abort(); /* a defect: no step has such a large round trip */
    pg->is_prepare[pg->n_expected++] = is_prepare;
}

static int statement_index(const struct pg *pg, const struct pg_statement *statement) {
    for (int i = 0; i < pg->n_prepared; i++)
        if (pg->prepared[i] == statement)
            return i;
    return -1;
}

void pg_send(struct pg *pg, const struct pg_statement *statement, const struct pg_args *args) {
    static const struct pg_args none;
    if (!args)
        args = &none;
    if (!pg->conn || pg->send_failed) {
        pg->send_failed = true;
        return;
    }
    if (pg->n_expected == 0 && !PQenterPipelineMode(pg->conn)) {
        pg->send_failed = true;
        return;
    }
    char name[16];
    int index = statement_index(pg, statement);
    if (index < 0) {
        if (pg->n_prepared == MAX_STATEMENTS)
            abort(); /* a defect: no stage has this number of statements */
        index = pg->n_prepared++;
        pg->prepared[index] = statement;
        snprintf(name, sizeof name, "s%d", index);
        if (!PQsendPrepare(pg->conn, name, statement->sql, args->n, args->types)) {
            pg->send_failed = true;
            return;
        }
        expect(pg, true);
    }
    snprintf(name, sizeof name, "s%d", index);
    static const int binary[PG_MAX_ARGS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    if (!PQsendQueryPrepared(pg->conn, name, args->n, args->values, args->lengths, binary, 1))
        pg->send_failed = true;
    else
        expect(pg, false);
}

/* Reads the results of the round trip up to its sync point. *ret_refused: Postgres refused a statement, and *err says
 * why. Fails if the connection is lost. */
static bool read_round_trip(struct pg *pg, PGresult **results, int n, bool *ret_refused, struct err *err) {
    int64_t give_up_us = silence_ends_us(pg);
    int got = 0;
    bool refused = false;
    for (int i = 0; i < pg->n_expected; i++) {
        PGresult *result = NULL, *end = NULL;
        if (!next_result(pg, give_up_us, &result, err))
            return false;
        if (!result)
            return err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", PQerrorMessage(pg->conn));
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            if (!refused && status != PGRES_PIPELINE_ABORTED)
                server_error(err, result);
            refused = true;
        }
        if (pg->is_prepare[i] || got == n)
            PQclear(result);
        else
            results[got++] = result;
        /* A NULL follows the result of each statement, unless the connection is broken. */
        if (PQstatus(pg->conn) != CONNECTION_OK)
            return err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", PQerrorMessage(pg->conn));
        if (!next_result(pg, give_up_us, &end, err))
            return false;
        PQclear(end);
    }
    PGresult *sync = NULL;
    if (!next_result(pg, give_up_us, &sync, err))
        return false;
    bool synced = PQresultStatus(sync) == PGRES_PIPELINE_SYNC;
    PQclear(sync);
    if (!synced)
        return err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", PQerrorMessage(pg->conn));
    *ret_refused = refused || got != n;
    return true;
}

bool pg_collect(struct pg *pg, PGresult **results, int n, struct err *err) {
    for (int i = 0; i < n; i++)
        results[i] = NULL;
    bool refused = false;
    if (!pg->conn || pg->send_failed || !PQpipelineSync(pg->conn))
        return connection_error(pg, err);
    FAULT_POINT("postgres", "round_trip_sent");
    if (!read_round_trip(pg, results, n, &refused, err)) {
        pg_clear(results, n);
        pg_disconnect(pg);
        return false;
    }
    pg->n_expected = 0;
    PQexitPipelineMode(pg->conn);
    if (!refused)
        return true;
    pg_clear(results, n);
    /* A Prepare may have failed, so the table of prepared statements may be wrong. Start over with none. */
    bool rolled_back = PQtransactionStatus(pg->conn) == PQTRANS_IDLE || pg_exec(pg, "rollback", NULL);
    if (!rolled_back || !pg_exec(pg, "deallocate all", NULL))
        pg_disconnect(pg);
    pg->n_prepared = 0;
    return false;
}

void pg_clear(PGresult **results, int n) {
    for (int i = 0; i < n; i++) {
        PQclear(results[i]);
        results[i] = NULL;
    }
}

/* --- parameters --- */

static void add_arg(struct pg_args *args, Oid type, const void *value, size_t len) {
    if (args->n == PG_MAX_ARGS)
        abort(); /* a defect: PG_MAX_ARGS is too small for a statement */
    args->types[args->n] = type;
    args->values[args->n] = value;
    args->lengths[args->n] = (int)len;
    args->n++;
}

static char *put32(char *at, uint32_t value) {
    value = htobe32(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static char *put64(char *at, uint64_t value) {
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

void pg_arg_int2(struct pg_args *args, struct arena *arena, int16_t value) {
    uint16_t *at = arena_alloc(arena, sizeof *at);
    *at = htobe16((uint16_t)value);
    add_arg(args, OID_INT2, at, sizeof *at);
}

void pg_arg_int4(struct pg_args *args, struct arena *arena, int32_t value) {
    char *at = arena_alloc(arena, 4);
    put32(at, (uint32_t)value);
    add_arg(args, OID_INT4, at, 4);
}

void pg_arg_int8(struct pg_args *args, struct arena *arena, int64_t value) {
    char *at = arena_alloc(arena, 8);
    put64(at, (uint64_t)value);
    add_arg(args, OID_INT8, at, 8);
}

void pg_arg_bool(struct pg_args *args, struct arena *arena, bool value) {
    char *at = arena_alloc(arena, 1);
    *at = value;
    add_arg(args, OID_BOOL, at, 1);
}

void pg_arg_float8(struct pg_args *args, struct arena *arena, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    char *at = arena_alloc(arena, 8);
    put64(at, bits);
    add_arg(args, OID_FLOAT8, at, 8);
}

void pg_arg_text(struct pg_args *args, const char *value) {
    add_arg(args, OID_TEXT, value, value ? strlen(value) : 0);
}

static bool time_is_null(int64_t wall_us) {
    return wall_us == INT64_MIN || wall_us == INT64_MAX;
}

void pg_arg_time(struct pg_args *args, struct arena *arena, int64_t wall_us) {
    if (time_is_null(wall_us)) {
        add_arg(args, OID_TIMESTAMPTZ, NULL, 0);
        return;
    }
    char *at = arena_alloc(arena, 8);
    put64(at, (uint64_t)(wall_us - PG_EPOCH_US));
    add_arg(args, OID_TIMESTAMPTZ, at, 8);
}

#define ARRAY_HEADER 20 /* bytes: dimensions, has-nulls, element type, length, lower bound (4 each) */

static char *put_array_header(char *at, Oid element, size_t n) {
    at = put32(at, 1);
    at = put32(at, 1); /* elements may be null */
    at = put32(at, element);
    at = put32(at, (uint32_t)n);
    return put32(at, 1);
}

void pg_arg_int4s(struct pg_args *args, struct arena *arena, const int32_t *values, size_t n) {
    size_t size = ARRAY_HEADER + n * 8;
    char *array = arena_alloc(arena, size), *at = put_array_header(array, OID_INT4, n);
    for (size_t i = 0; i < n; i++)
        at = put32(put32(at, 4), (uint32_t)values[i]);
    add_arg(args, OID_INT4_ARRAY, array, size);
}

void pg_arg_int8s(struct pg_args *args, struct arena *arena, const int64_t *values, size_t n) {
    size_t size = ARRAY_HEADER + n * 12;
    char *array = arena_alloc(arena, size), *at = put_array_header(array, OID_INT8, n);
    for (size_t i = 0; i < n; i++)
        at = put64(put32(at, 8), (uint64_t)values[i]);
    add_arg(args, OID_INT8_ARRAY, array, size);
}

void pg_arg_times(struct pg_args *args, struct arena *arena, const int64_t *wall_us, size_t n) {
    size_t size = ARRAY_HEADER + n * 12;
    char *array = arena_alloc(arena, size), *at = put_array_header(array, OID_TIMESTAMPTZ, n);
    for (size_t i = 0; i < n; i++)
        at = put64(put32(at, 8), (uint64_t)(wall_us[i] - PG_EPOCH_US));
    add_arg(args, OID_TIMESTAMPTZ_ARRAY, array, size);
}

static char *put_bytes(char *at, const void *data, size_t len) {
    if (!data)
        return put32(at, UINT32_MAX); /* a length of -1 is null */
    at = put32(at, (uint32_t)len);
    memcpy(at, data, len);
    return at + len;
}

void pg_arg_texts(struct pg_args *args, struct arena *arena, const char *const *values, size_t n) {
    size_t size = ARRAY_HEADER;
    for (size_t i = 0; i < n; i++)
        size += 4 + (values[i] ? strlen(values[i]) : 0);
    char *array = arena_alloc(arena, size), *at = put_array_header(array, OID_TEXT, n);
    for (size_t i = 0; i < n; i++)
        at = put_bytes(at, values[i], values[i] ? strlen(values[i]) : 0);
    add_arg(args, OID_TEXT_ARRAY, array, size);
}

void pg_arg_byteas(struct pg_args *args, struct arena *arena, const struct pg_bytes *values, size_t n) {
    size_t size = ARRAY_HEADER;
    for (size_t i = 0; i < n; i++)
        size += 4 + (values[i].data ? values[i].len : 0);
    char *array = arena_alloc(arena, size), *at = put_array_header(array, OID_BYTEA, n);
    for (size_t i = 0; i < n; i++)
        at = put_bytes(at, values[i].data, values[i].len);
    add_arg(args, OID_BYTEA_ARRAY, array, size);
}

/* --- results --- */

int64_t pg_int8(const PGresult *result, int row, int column) {
    uint64_t bits;
    memcpy(&bits, PQgetvalue(result, row, column), sizeof bits);
    return (int64_t)be64toh(bits);
}

int32_t pg_int4(const PGresult *result, int row, int column) {
    uint32_t bits;
    memcpy(&bits, PQgetvalue(result, row, column), sizeof bits);
    return (int32_t)be32toh(bits);
}

int16_t pg_int2(const PGresult *result, int row, int column) {
    uint16_t bits;
    memcpy(&bits, PQgetvalue(result, row, column), sizeof bits);
    return (int16_t)be16toh(bits);
}

bool pg_bool(const PGresult *result, int row, int column) {
    return *PQgetvalue(result, row, column) != 0;
}

double pg_float8(const PGresult *result, int row, int column) {
    uint64_t bits = (uint64_t)pg_int8(result, row, column);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int64_t pg_time(const PGresult *result, int row, int column, int64_t if_null) {
    return PQgetisnull(result, row, column) ? if_null : pg_int8(result, row, column) + PG_EPOCH_US;
}

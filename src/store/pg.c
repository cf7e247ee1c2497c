/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to Postgres; see pg.h. One thread. `is_prepare` records for each message of the round trip whether it is
 * a statement or the Prepare that pg_send has put before it. */
#include "store/pg.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/memory.h"
#include "base/secret_file.h"
#include "store/pg_open.h"
#include "store/sqlstate.h"

#define MAX_STATEMENTS 48 /* distinct statements on one connection; each stage has fewer than 16 */
#define MAX_EXPECTED   64 /* messages in one round trip */
/* Opening a connection may take this time, even if pg_give_up_at is earlier, and so may setting up its session. */
#define FRESH_SILENCE_US US_PER_S
/* If a failed attempt to connect took at least this time, the server was silent. */
#define SILENT_CONNECT_US US_PER_S
/* The pauses before another attempt to connect. Every caller waits longer than this for the server's return. */
#define FAILED_PAUSE_US (100 * US_PER_MS)
#define SILENT_PAUSE_US (250 * US_PER_MS)
/* A process only computes between the statements of a transaction. If a transaction stays idle for this time, its
 * process was stopped, and Postgres ends the session, so that other processes get its lanes. */
#define IDLE_IN_TRANSACTION_MS 2000
/* How often is_open reads what a server has sent to an idle session: a notice or two, its last words, the end. */
#define LAST_WORDS_READS 4

struct pg {
    struct pg_options options;
    struct resolver *resolver;
    PGconn *conn;
    uint64_t generation;
    uint32_t schema_oid;
    const struct pg_statement *prepared[MAX_STATEMENTS];
    int n_prepared;
    bool is_prepare[MAX_EXPECTED];
    int n_expected;
    bool send_failed;
    int64_t give_up_us; /* set by pg_give_up_at; INT64_MAX: not set */
    char *file_url;     /* the last usable text of options.url_file; NULL: none was read */
    /* The pause after a failure: until then, pg_connect fails at once with `failure`. */
    int64_t paused_until_us;
    struct err failure;
};

const struct pg_statement pg_begin = {"begin"};
const struct pg_statement pg_commit = {"commit"};
const struct pg_statement pg_rollback = {"rollback"};

struct pg *pg_new(const struct pg_options *options) {
    struct pg *pg = memory_new(1, sizeof *pg);
    pg->options = *options;
    pg->resolver = resolver_new();
    pg->give_up_us = INT64_MAX;
    return pg;
}

void pg_free(struct pg *pg) {
    if (!pg)
        return;
    pg_disconnect(pg);
    resolver_free(pg->resolver);
    free(pg->file_url);
    free(pg);
}

bool pg_is_connected(const struct pg *pg) {
    return pg->conn != NULL;
}

void pg_give_up_at(struct pg *pg, int64_t mono_us) {
    pg->give_up_us = mono_us;
}

const char *pg_server_encoding(const struct pg *pg) {
    return PQparameterStatus(pg->conn, "server_encoding");
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

/* Makes later attempts to connect fail at once for a while. */
static void pause_attempts(struct pg *pg, int64_t us, const struct err *failure) {
    pg->paused_until_us = clock_mono_us() + us;
    pg->failure = *failure;
}

static void pause_after_silence(struct pg *pg) {
    struct err silent;
    err_set(&silent, ERR_UNAVAILABLE, BACKEND_POSTGRES, "the server was silent a moment ago");
    pause_attempts(pg, SILENT_PAUSE_US, &silent);
}

/* Fills *err with the server's message. Returns true if the session can't go on. Never looks at the message, which
 * Postgres translates. A result without a state was made by libpq, which then has lost track of the session. */
static bool server_error(struct err *err, const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    enum sqlstate_kind kind = state ? sqlstate_kind(state) : SQLSTATE_SESSION;
    enum err_code code = kind == SQLSTATE_FORBIDDEN                               ? ERR_PERMISSION
                         : kind == SQLSTATE_TRANSIENT || kind == SQLSTATE_SESSION ? ERR_UNAVAILABLE
                                                                                  : ERR_REFUSED;
    err_set(err, code, BACKEND_POSTGRES, "%s%s%s", text ? text : PQresultErrorMessage(result), detail ? ": " : "",
            detail ? detail : "");
    snprintf(err->sqlstate, sizeof err->sqlstate, "%s", state ? state : "");
    return kind == SQLSTATE_SESSION;
}

static bool connection_error(struct pg *pg, struct err *err) {
    err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", pg->conn ? PQerrorMessage(pg->conn) : "not connected");
    pg_disconnect(pg);
    return false;
}

/* Returns the time at which to give up on a silent server for a request that is sent now. */
static int64_t silence_ends_us(const struct pg *pg) {
    int64_t us = clock_mono_us() + (int64_t)(pg->options.statement_timeout_ms + PG_SILENCE_MARGIN_MS) * US_PER_MS;
    return us < pg->give_up_us ? us : pg->give_up_us;
}

/* Calls PQgetResult, but fails if the server stays silent until give_up_us. Meanwhile it sends what the socket has not
 * taken at once. */
static bool next_result(struct pg *pg, int64_t give_up_us, PGresult **ret_result, struct err *err) {
    while (PQisBusy(pg->conn)) {
        int unsent = PQflush(pg->conn); /* costs no system call if all was sent */
        if (unsent < 0)
            return err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", PQerrorMessage(pg->conn));
        int64_t left_ms = (give_up_us - clock_mono_us()) / US_PER_MS + 1;
        struct pollfd fd = {.fd = PQsocket(pg->conn), .events = (short)(unsent ? POLLIN | POLLOUT : POLLIN)};
        if (poll(&fd, 1, left_ms < 0 ? 0 : left_ms < INT_MAX ? (int)left_ms : INT_MAX) == 0) {
            pause_after_silence(pg);
            return err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "the server has been silent for too long");
        }
        if (fd.revents & ~POLLOUT && !PQconsumeInput(pg->conn))
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
    if (ok)
        return true;
    struct err cause;
    bool is_over = server_error(&cause, *ret_result);
    if (PQstatus(pg->conn) != CONNECTION_OK)
        return connection_error(pg, err);
    if (is_over)
        pg_disconnect(pg);
    if (err)
        *err = cause;
    return false;
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

static const char read_only[] =
    "the session is read-only: the server is a standby, or default_transaction_read_only is on";

static bool read_schema(struct pg *pg, struct err *err) {
    PGresult *result;
    /* Not ::regnamespace, which would read the name as an identifier. */
    bool ok = run(pg,
                  "select (select oid::bigint from pg_namespace where nspname = current_schema()),"
                  " current_setting('transaction_read_only')",
                  silence_ends_us(pg), &result, err);
    if (ok && PQgetisnull(result, 0, 0))
        ok = err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES,
                     "no schema of the search_path exists that this role may use: create it or grant USAGE, or set "
                     "search_path in postgres.url");
    else if (ok && strcmp(PQgetvalue(result, 0, 1), "off") != 0)
        ok = err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", read_only);
    else if (ok)
        pg->schema_oid = (uint32_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return ok;
}

bool pg_check_writable(struct pg *pg, struct err *err) {
    PGresult *result;
    bool ok = run(pg, "select current_setting('transaction_read_only')", silence_ends_us(pg), &result, err);
    if (ok && strcmp(PQgetvalue(result, 0, 0), "off") != 0) {
        ok = err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", read_only);
        pg_disconnect(pg);
    }
    PQclear(result);
    return ok;
}

/* A process id may be used again, and several servers may be behind one address; so the time of the start, too. */
bool pg_session(struct pg *pg, char ret[static PG_SESSION_SIZE], struct err *err) {
    PGresult *result;
    bool ok = run(pg,
                  "select pg_backend_pid() || ' ' || coalesce((select extract(epoch from backend_start)::text"
                  " from pg_stat_get_activity(pg_backend_pid())), '')",
                  silence_ends_us(pg), &result, err);
    if (ok)
        snprintf(ret, PG_SESSION_SIZE, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return ok;
}

static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

/* Sets what our transactions depend on, whatever the defaults of the server, the database and the role are. Two
 * defaults stay in force: search_path, which names our schema, and default_transaction_read_only, by which an
 * administrator may stop all writes. */
static bool prepare_session(struct pg *pg, struct err *err) {
    char sql[900];
    snprintf(sql, sizeof sql,
             "set statement_timeout = %d; set lock_timeout = 0; set idle_in_transaction_session_timeout = %d;"
             "set idle_session_timeout = %d; set default_transaction_isolation = 'read committed'; %s"
             "set exit_on_error = off; set jit = off; set synchronous_commit = on; set client_min_messages = warning;"
             "set max_parallel_workers_per_gather = 0;%s",
             pg->options.statement_timeout_ms, IDLE_IN_TRANSACTION_MS, pg->options.idle_timeout_ms,
             PQserverVersion(pg->conn) >= 170000 ? "set transaction_timeout = 0; " : "",
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

/* Returns the URL to connect with. *ret_why_not says why the file has none, or is NULL. */
static const char *current_url(struct pg *pg, const char **ret_why_not) {
    *ret_why_not = NULL;
    char *text = pg->options.url_file ? secret_file_read(pg->options.url_file, ret_why_not, NULL) : NULL;
    if (text && pg_check_url(text, NULL)) {
        free(pg->file_url);
        pg->file_url = text;
    } else if (text) {
        *ret_why_not = "has no URL that libpq understands";
        free(text);
    }
    return pg->file_url ? pg->file_url : pg->options.url;
}

static bool open_session(struct pg *pg, const char *url, int *ret_host, struct err *err) {
    struct pg_opened opened;
    int64_t fresh_until_us = clock_mono_us() + FRESH_SILENCE_US;
    int64_t give_up_us = pg->give_up_us > fresh_until_us ? pg->give_up_us : fresh_until_us;
    if (!pg_open(&pg->options, url, pg->resolver, give_up_us, &opened, err))
        return false;
    pg->conn = opened.conn;
    *ret_host = opened.host;
    PQsetNoticeReceiver(pg->conn, ignore_notice, NULL);
    /* Otherwise libpq waits without a limit for a server that reads nothing, even in PQfinish. */
    (void)PQsetnonblocking(pg->conn, 1);
    fresh_until_us = clock_mono_us() + FRESH_SILENCE_US;
    if (pg->give_up_us < fresh_until_us)
        pg->give_up_us = fresh_until_us;
    return prepare_session(pg, err);
}

static bool try_to_connect(struct pg *pg, const char *url, struct err *err) {
    int host;
    if (!open_session(pg, url, &host, err))
        return false;
    if (pg->options.first_host)
        atomic_store(pg->options.first_host, host);
    return true;
}

/* Whether the session is still there. A restart, a failover or a balancer may have ended it while it was idle, which
 * libpq notices only when it reads. Without this look, the next batch would fail for it. */
static bool is_open(struct pg *pg) {
    if (!pg->conn)
        return false;
    struct pollfd fd = {.fd = PQsocket(pg->conn), .events = POLLIN};
    for (int reads = 0; reads < LAST_WORDS_READS && PQstatus(pg->conn) == CONNECTION_OK && poll(&fd, 1, 0) > 0; reads++)
        (void)PQconsumeInput(pg->conn);
    return PQstatus(pg->conn) == CONNECTION_OK;
}

bool pg_connect(struct pg *pg, struct err *err) {
    if (is_open(pg))
        return true;
    pg_disconnect(pg);
    int64_t begin_us = clock_mono_us();
    if (begin_us < pg->paused_until_us) {
        if (err)
            *err = pg->failure;
        return false;
    }
    struct err failure;
    const char *why_not, *url = current_url(pg, &why_not);
    if (try_to_connect(pg, url, &failure)) {
        FAULT_POINT("postgres", "connected");
        pg->generation++;
        return true;
    }
    pg_disconnect(pg);
    err_set(&failure, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s%s%s%s%s", failure.text, why_not ? " (and " : "",
            why_not ? pg->options.url_file : "", why_not ? " " : "", why_not ? why_not : "");
    if (clock_mono_us() - begin_us >= SILENT_CONNECT_US)
        pause_after_silence(pg);
    else
        pause_attempts(pg, FAILED_PAUSE_US, &failure);
    if (err)
        *err = failure;
    return false;
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
    static const int binary[PG_MAX_ARGS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    if (!PQsendQueryPrepared(pg->conn, name, args->n, args->values, args->lengths, binary, 1))
        pg->send_failed = true;
    else
        expect(pg, false);
}

struct refusal_of_server {
    bool refused; /* Postgres refused a statement */
    bool is_over; /* and the session can't go on */
};

/* Reads the results of the round trip up to its sync point. If Postgres refused a statement, *err says why. Fails if
 * the connection is lost. */
static bool read_round_trip(struct pg *pg, PGresult **results, int n, struct refusal_of_server *ret, struct err *err) {
    int64_t give_up_us = silence_ends_us(pg);
    int got = 0;
    bool refused = false, is_over = false;
    for (int i = 0; i < pg->n_expected; i++) {
        PGresult *result = NULL, *end = NULL;
        if (!next_result(pg, give_up_us, &result, err))
            return false;
        if (!result)
            return err_set(err, ERR_UNAVAILABLE, BACKEND_POSTGRES, "%s", PQerrorMessage(pg->conn));
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            if (!refused && status != PGRES_PIPELINE_ABORTED)
                is_over = server_error(err, result);
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
    *ret = (struct refusal_of_server){.refused = refused || got != n, .is_over = is_over};
    return true;
}

bool pg_collect(struct pg *pg, PGresult **results, int n, struct err *err) {
    for (int i = 0; i < n; i++)
        results[i] = NULL;
    struct refusal_of_server refusal = {0};
    struct err cause = {0};
    if (!pg->conn || pg->send_failed || !PQpipelineSync(pg->conn))
        return connection_error(pg, err);
    FAULT_POINT("postgres", "round_trip_sent");
    bool is_whole = read_round_trip(pg, results, n, &refusal, &cause);
    if (is_whole) {
        pg->n_expected = 0;
        PQexitPipelineMode(pg->conn);
        if (!refusal.refused)
            return true;
    }
    pg_clear(results, n);
    if (err)
        *err = cause;
    if (!is_whole || refusal.is_over) {
        pg_disconnect(pg);
        return false;
    }
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

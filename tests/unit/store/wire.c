/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <endian.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/strbuf.h"

#define MESSAGE_MAX    (1 << 20)
#define STATEMENTS_MAX 1024
#define PREPARED_MAX   64
#define ANSWERS_MAX    32
#define OID_BYTEA      17 /* the type of every column; the client does not check it */

struct wire {
    int listener;
    char url[120];
    pthread_t thread;
    pthread_mutex_t lock; /* guards the fields below */
    struct wire_statement *statements[STATEMENTS_MAX];
    int n_statements;
    struct answer {
        const char *text, *after; /* after: NULL, or the text of a statement that must have come before */
        const struct pg_args *rows;
        int n;
        wire_rows *function; /* NULL: `rows` */
        void *arg;
    } answers[ANSWERS_MAX];
    int n_answers;
    const char *failing, *failing_state; /* see wire_fail */
    int n_transactions;
    struct session *sessions; /* of the accepting thread; a list */
    int n_sessions;
};

/* One client's connection, which belongs to its thread. */
struct session {
    struct session *next;
    struct wire *wire;
    pthread_t thread;
    int number; /* 1: the first connection */
    int socket;
    struct strbuf out;
    struct {
        char sql[2000];
        Oid types[PG_MAX_ARGS];
    } prepared[PREPARED_MAX];            /* by the number in the statement's name, e.g. "s7" */
    const struct wire_statement *portal; /* the last bound statement */
    const struct pg_args *rows;          /* its answer */
    int n_rows;
    char status; /* 'I': idle, 'T': in a transaction, 'E': in one that has failed */
    bool skips;  /* after an error, until the next Sync */
    bool ends;   /* the server closes the connection */
};

/* --- bytes --- */

static void add16(struct strbuf *out, size_t value) {
    uint16_t bytes = htobe16((uint16_t)value);
    strbuf_add(out, (const char *)&bytes, sizeof bytes);
}

static void add32(struct strbuf *out, size_t value) {
    uint32_t bytes = htobe32((uint32_t)value);
    strbuf_add(out, (const char *)&bytes, sizeof bytes);
}

static uint32_t get32(const char *at) {
    uint32_t bytes;
    memcpy(&bytes, at, sizeof bytes);
    return be32toh(bytes);
}

static uint16_t get16(const char *at) {
    uint16_t bytes;
    memcpy(&bytes, at, sizeof bytes);
    return be16toh(bytes);
}

static void message(struct session *session, char type, const char *body, size_t len) {
    strbuf_add(&session->out, &type, 1);
    add32(&session->out, len + 4);
    strbuf_add(&session->out, body, len);
}

static void message_of(struct session *session, char type, struct strbuf *body) {
    message(session, type, body->data, body->len);
    strbuf_deinit(body);
}

static bool flush(struct session *session) {
    size_t sent = 0;
    while (sent < session->out.len) {
        ssize_t n = write(session->socket, session->out.data + sent, session->out.len - sent);
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    session->out.len = 0;
    return true;
}

static bool read_all(int socket, char *bytes, size_t len) {
    while (len) {
        ssize_t n = read(socket, bytes, len);
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

/* --- answers --- */

static void ready(struct session *session) {
    message(session, 'Z', &session->status, 1);
}

static void set_status(struct session *session, char status) {
    pthread_mutex_lock(&session->wire->lock);
    session->wire->n_transactions += (status != 'I') - (session->status != 'I');
    pthread_mutex_unlock(&session->wire->lock);
    session->status = status;
}

static bool begins_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool ends_transaction(const char *sql) {
    size_t len = strlen(sql);
    return begins_with(sql, "commit") || begins_with(sql, "rollback") ||
           (len > 8 && strcmp(sql + len - 8, "; commit") == 0);
}

/* Returns the state with which the statement fails, or NULL. "": the connection ends. */
static const char *failing_state(struct session *session, const char *sql) {
    struct wire *wire = session->wire;
    const char *at = strstr(sql, "fail "), *state = at ? at + 5 : NULL;
    pthread_mutex_lock(&wire->lock);
    if (!state && wire->failing && strstr(sql, wire->failing))
        state = wire->failing_state;
    pthread_mutex_unlock(&wire->lock);
    if (!state && session->status == 'E' && !ends_transaction(sql))
        state = "25P02"; /* the transaction is aborted */
    return state;
}

/* Sends an error if the statement has to fail. Returns whether it did. */
static bool failed(struct session *session, const char *sql) {
    const char *state = failing_state(session, sql);
    if (!state) {
        set_status(session, ends_transaction(sql) ? 'I' : begins_with(sql, "begin") ? 'T' : session->status);
        return false;
    }
    session->ends = !*state;
    if (session->ends)
        return true;
    set_status(session, session->status == 'I' || ends_transaction(sql) ? 'I' : 'E');
    struct strbuf body = {0};
    strbuf_add(&body, "SERROR", 7);
    strbuf_printf(&body, "C%.5s", state);
    strbuf_add(&body, "\0Mit is so\0Dsee there\0", 23);
    message_of(session, 'E', &body);
    return true;
}

/* Returns the number of columns of a row. */
static int width_of(const struct pg_args *row) {
    int n = row->n;
    for (; row->n == PG_MAX_ARGS; row++)
        n += row[1].n;
    return n;
}

static void describe_columns(struct session *session, const struct pg_args *row) {
    struct strbuf body = {0};
    int n = width_of(row);
    add16(&body, (size_t)n);
    for (int i = 0; i < n; i++) {
        strbuf_add(&body, "c", 2);
        add32(&body, 0); /* table */
        add16(&body, 0); /* column */
        add32(&body, OID_BYTEA);
        add16(&body, UINT16_MAX); /* any length */
        add32(&body, UINT32_MAX); /* no modifier */
        add16(&body, 1);          /* binary */
    }
    message_of(session, 'T', &body);
}

static void add_values(struct strbuf *body, const struct pg_args *part) {
    for (int i = 0; i < part->n; i++) {
        add32(body, part->values[i] ? (size_t)part->lengths[i] : UINT32_MAX);
        if (part->values[i])
            strbuf_add(body, part->values[i], (size_t)part->lengths[i]);
    }
}

static void add_rows(struct session *session, const struct pg_args *rows, int n) {
    for (int i = 0; i < n; i++, rows++) {
        struct strbuf body = {0};
        add16(&body, (size_t)width_of(rows));
        for (; rows->n == PG_MAX_ARGS; rows++)
            add_values(&body, rows);
        add_values(&body, rows);
        message_of(session, 'D', &body);
    }
}

/* Returns the last statement with this text, or NULL. The caller holds the lock. */
static const struct wire_statement *find(const struct wire *wire, const char *text, int *ret_n) {
    const struct wire_statement *last = NULL;
    *ret_n = 0;
    for (int i = 0; i < wire->n_statements; i++)
        if (strstr(wire->statements[i]->sql, text)) {
            ++*ret_n;
            last = wire->statements[i];
        }
    return last;
}

static const struct pg_args *rows_of(struct session *session, const struct wire_statement *statement, int *ret_n) {
    struct wire *wire = session->wire;
    struct answer answer = {0};
    int n;
    pthread_mutex_lock(&wire->lock);
    for (int i = 0; i < wire->n_answers; i++) {
        const struct answer *one = &wire->answers[i];
        if (strstr(statement->sql, one->text) && (!one->after || find(wire, one->after, &n)))
            answer = *one;
    }
    pthread_mutex_unlock(&wire->lock);
    *ret_n = answer.n;
    return answer.function ? answer.function(answer.arg, session->number, statement, ret_n) : answer.rows;
}

static const struct wire_statement *record(struct session *session, const char *sql, const struct pg_args *args) {
    struct wire *wire = session->wire;
    struct wire_statement *statement = memory_new(1, sizeof *statement);
    snprintf(statement->sql, sizeof statement->sql, "%s", sql);
    statement->args = *args;
    pthread_mutex_lock(&wire->lock);
    cr_assert_lt(wire->n_statements, STATEMENTS_MAX);
    wire->statements[wire->n_statements++] = statement;
    pthread_mutex_unlock(&wire->lock);
    return statement;
}

/* --- the client's messages --- */

/* Handles a simple query, which the set-up of a session and pg_exec use. */
static void simple_query(struct session *session, const char *sql) {
    static const struct pg_args schema = {.n = 2, .values = {"2200", "off"}, .lengths = {4, 3}};
    int n;
    const struct pg_args *rows = rows_of(session, record(session, sql, &(struct pg_args){0}), &n);
    if (strstr(sql, "current_schema")) {
        rows = &schema;
        n = 1;
    }
    if (!failed(session, sql)) {
        if (n > 0)
            describe_columns(session, rows);
        add_rows(session, rows, n);
        message(session, 'C', "OK", 3);
    }
    ready(session);
}

static int number_of(const char *name) {
    int number = atoi(name + 1);
    cr_assert(*name == 's' && number < PREPARED_MAX, "%s", name);
    return number;
}

static void parse(struct session *session, const char *body) {
    const char *sql = body + strlen(body) + 1, *types = sql + strlen(sql) + 1;
    int number = number_of(body), n = get16(types);
    snprintf(session->prepared[number].sql, sizeof session->prepared[0].sql, "%s", sql);
    for (int i = 0; i < n; i++)
        session->prepared[number].types[i] = get32(types + 2 + 4 * i);
    message(session, '1', NULL, 0);
}

static void bind_values(struct session *session, const char *body) {
    const char *name = body + strlen(body) + 1, *at = name + strlen(name) + 1;
    struct pg_args args = {0};
    at += 2 + 2 * get16(at); /* formats */
    args.n = get16(at);
    at += 2;
    for (int i = 0; i < args.n; i++) {
        uint32_t len = get32(at);
        at += 4;
        if (len == UINT32_MAX)
            continue;
        args.values[i] = memcpy(memory_new(len, 1), at, len);
        args.lengths[i] = (int)len;
        at += len;
    }
    int number = number_of(name);
    memcpy(args.types, session->prepared[number].types, sizeof args.types);
    session->portal = record(session, session->prepared[number].sql, &args);
    message(session, '2', NULL, 0);
}

/* The client describes each statement before it executes it, so this is one call per statement. */
static void describe(struct session *session) {
    session->rows = rows_of(session, session->portal, &session->n_rows);
    if (session->n_rows > 0)
        describe_columns(session, session->rows);
    else
        message(session, 'n', NULL, 0);
}

static void execute(struct session *session) {
    session->skips = failed(session, session->portal->sql);
    if (session->skips)
        return;
    add_rows(session, session->rows, session->n_rows);
    message(session, 'C', "OK", 3);
}

/* Returns false if the connection ends. */
static bool obey(struct session *session, char type, const char *body) {
    if (type == 'X')
        return false;
    if (type == 'S') {
        session->skips = false;
        ready(session);
    } else if (type == 'Q') {
        simple_query(session, body);
    } else if (!session->skips && type == 'P') {
        parse(session, body);
    } else if (!session->skips && type == 'B') {
        bind_values(session, body);
    } else if (!session->skips && type == 'D') {
        describe(session);
    } else if (!session->skips && type == 'E') {
        execute(session);
    }
    return !session->ends && ((type != 'S' && type != 'Q') || flush(session));
}

/* What Postgres reports of itself at the start of a session, by which libpq sees that the server takes writes. */
#define PARAMETER(text)                                                                                                \
    { (text), sizeof(text) }
static const struct {
    const char *status;
    size_t len;
} parameters[] = {PARAMETER("server_version\0"
                            "15.0"),
                  PARAMETER("server_encoding\0UTF8"), PARAMETER("default_transaction_read_only\0off"),
                  PARAMETER("in_hot_standby\0off")};

static void serve(struct session *session) {
    char *body = memory_new(MESSAGE_MAX, 1), head[5];
    if (read_all(session->socket, head, 4) && read_all(session->socket, body, get32(head) - 4)) {
        message(session, 'R', "\0\0\0\0", 4); /* authenticated */
        for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
            message(session, 'S', parameters[i].status, parameters[i].len);
        ready(session);
        bool goes_on = flush(session);
        while (goes_on && read_all(session->socket, head, 5)) {
            size_t len = get32(head + 1) - 4;
            cr_assert_lt(len, MESSAGE_MAX);
            goes_on = read_all(session->socket, body, len) && obey(session, head[0], body);
        }
    }
    free(body);
}

static void *run_session(void *arg) {
    struct session *session = arg;
    serve(session);
    close(session->socket);
    set_status(session, 'I');
    strbuf_deinit(&session->out);
    return NULL;
}

static void *run(void *arg) {
    struct wire *wire = arg;
    int socket;
    while ((socket = accept(wire->listener, NULL, NULL)) >= 0) {
        struct session *session = memory_new(1, sizeof *session);
        session->next = wire->sessions;
        session->wire = wire;
        session->number = ++wire->n_sessions;
        session->socket = socket;
        session->status = 'I';
        wire->sessions = session;
        cr_assert_eq(pthread_create(&session->thread, NULL, run_session, session), 0);
    }
    return NULL;
}

/* --- the test's functions --- */

struct wire *wire_new(void) {
    struct wire *wire = memory_new(1, sizeof *wire);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    pthread_mutex_init(&wire->lock, NULL);
    wire->listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(wire->listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(wire->listener, 8), 0);
    cr_assert_eq(getsockname(wire->listener, (struct sockaddr *)&address, &len), 0);
    snprintf(wire->url, sizeof wire->url, "host=127.0.0.1 port=%d user=u dbname=d sslmode=disable gssencmode=disable",
             ntohs(address.sin_port));
    cr_assert_eq(pthread_create(&wire->thread, NULL, run, wire), 0);
    return wire;
}

void wire_free(struct wire *wire) {
    shutdown(wire->listener, SHUT_RDWR);
    pthread_join(wire->thread, NULL);
    close(wire->listener);
    while (wire->sessions) {
        struct session *session = wire->sessions;
        wire->sessions = session->next;
        pthread_join(session->thread, NULL);
        free(session);
    }
    pthread_mutex_destroy(&wire->lock);
    for (int i = 0; i < wire->n_statements; i++) {
        for (int j = 0; j < wire->statements[i]->args.n; j++)
            free((void *)(uintptr_t)wire->statements[i]->args.values[j]);
        free(wire->statements[i]);
    }
    free(wire);
}

const char *wire_url(const struct wire *wire) {
    return wire->url;
}

struct pg *wire_pg(struct wire *wire) {
    const struct pg_options options = {
        .url = wire->url, .application_name = "test", .connect_timeout_s = 5, .statement_timeout_ms = 5000};
    struct pg *pg = pg_new(&options);
    struct err err = {0};
    cr_assert(pg_connect(pg, &err), "%s", err.text);
    return pg;
}

static void add_answer(struct wire *wire, struct answer answer) {
    pthread_mutex_lock(&wire->lock);
    cr_assert_lt(wire->n_answers, ANSWERS_MAX);
    wire->answers[wire->n_answers++] = answer;
    pthread_mutex_unlock(&wire->lock);
}

void wire_answer(struct wire *wire, const char *text, const struct pg_args *rows, int n) {
    add_answer(wire, (struct answer){.text = text, .rows = rows, .n = n});
}

void wire_answer_after(struct wire *wire, const char *after, const char *text, const struct pg_args *rows, int n) {
    add_answer(wire, (struct answer){.text = text, .after = after, .rows = rows, .n = n});
}

void wire_answer_by(struct wire *wire, const char *text, wire_rows *function, void *arg) {
    add_answer(wire, (struct answer){.text = text, .function = function, .arg = arg});
}

void wire_fail(struct wire *wire, const char *text, const char *state) {
    pthread_mutex_lock(&wire->lock);
    wire->failing = text;
    wire->failing_state = state;
    pthread_mutex_unlock(&wire->lock);
}

int wire_count(struct wire *wire, const char *text) {
    int n;
    pthread_mutex_lock(&wire->lock);
    find(wire, text, &n);
    pthread_mutex_unlock(&wire->lock);
    return n;
}

bool wire_in_transaction(struct wire *wire) {
    pthread_mutex_lock(&wire->lock);
    bool any = wire->n_transactions > 0;
    pthread_mutex_unlock(&wire->lock);
    return any;
}

const struct wire_statement *wire_last(struct wire *wire, const char *text) {
    int n;
    pthread_mutex_lock(&wire->lock);
    const struct wire_statement *last = find(wire, text, &n);
    pthread_mutex_unlock(&wire->lock);
    cr_assert_not_null(last, "no statement has \"%s\"", text);
    return last;
}

/* An array's header has 4 bytes each for dimensions, has-nulls, element type, length and lower bound. */
size_t wire_bytes(const struct wire_statement *statement, int arg, struct pg_bytes *values, size_t room) {
    cr_assert_lt(arg, statement->args.n);
    const char *at = statement->args.values[arg];
    size_t n = get32(at + 12);
    cr_assert_leq(n, room);
    at += 20;
    for (size_t i = 0; i < n; i++) {
        uint32_t len = get32(at);
        at += 4;
        values[i] = len == UINT32_MAX ? (struct pg_bytes){0} : (struct pg_bytes){at, len};
        at += values[i].len;
    }
    cr_assert_eq(at - statement->args.values[arg], statement->args.lengths[arg]);
    return n;
}

size_t wire_int8s(const struct wire_statement *statement, int arg, int64_t *values, size_t room) {
    struct pg_bytes *bytes = memory_new(room, sizeof *bytes);
    size_t n = wire_bytes(statement, arg, bytes, room);
    for (size_t i = 0; i < n; i++) {
        const char *at = bytes[i].data;
        values[i] = bytes[i].len == 8 ? (int64_t)((uint64_t)get32(at) << 32 | get32(at + 4)) : (int32_t)get32(at);
    }
    free(bytes);
    return n;
}

PGresult *rows_result(const struct pg_args *rows, int n) {
    PGresult *result = memory_must(PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK));
    static char name[] = "c";
    PGresAttDesc columns[PG_MAX_ARGS] = {0};
    for (int i = 0; i < PG_MAX_ARGS; i++)
        columns[i] = (PGresAttDesc){.name = name, .format = 1};
    cr_assert(PQsetResultAttrs(result, n > 0 ? rows[0].n : 1, columns));
    for (int row = 0; row < n; row++)
        for (int i = 0; i < rows[row].n; i++)
            cr_assert(PQsetvalue(result, row, i, (char *)(uintptr_t)rows[row].values[i],
                                 rows[row].values[i] ? rows[row].lengths[i] : -1));
    return result;
}

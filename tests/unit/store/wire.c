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
#define STATEMENTS_MAX 64
#define ANSWERS_MAX    16
#define OID_BYTEA      17 /* the type of every column; the client does not check it */

struct wire {
    int listener;
    char url[120];
    pthread_t thread;
    pthread_mutex_t lock; /* guards the fields below */
    struct wire_statement *statements[STATEMENTS_MAX];
    int n_statements;
    struct {
        const char *text;
        const struct pg_args *rows;
        int n;
    } answers[ANSWERS_MAX];
    int n_answers;
};

/* One client's connection, which belongs to the thread. */
struct session {
    struct wire *wire;
    int socket;
    struct strbuf out;
    char prepared[STATEMENTS_MAX][2000]; /* by the number in the statement's name, e.g. "s7" */
    const char *portal;                  /* the SQL of the last bound statement */
    bool skips;                          /* after an error, until the next Sync */
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
    message(session, 'Z', "I", 1);
}

/* Sends an error if the statement has to fail. Returns whether it did. */
static bool failed(struct session *session, const char *sql) {
    const char *at = strstr(sql, "fail ");
    if (!at)
        return false;
    struct strbuf body = {0};
    strbuf_add(&body, "SERROR", 7);
    strbuf_printf(&body, "C%.5s", at + 5);
    strbuf_add(&body, "\0Mit is so\0Dsee there\0", 23);
    message_of(session, 'E', &body);
    return true;
}

static void describe_columns(struct session *session, int n) {
    struct strbuf body = {0};
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

static void add_row(struct session *session, const struct pg_args *row) {
    struct strbuf body = {0};
    add16(&body, (size_t)row->n);
    for (int i = 0; i < row->n; i++) {
        add32(&body, row->values[i] ? (size_t)row->lengths[i] : UINT32_MAX);
        if (row->values[i])
            strbuf_add(&body, row->values[i], (size_t)row->lengths[i]);
    }
    message_of(session, 'D', &body);
}

static const struct pg_args *rows_of(struct session *session, const char *sql, int *ret_n) {
    struct wire *wire = session->wire;
    const struct pg_args *rows = NULL;
    pthread_mutex_lock(&wire->lock);
    for (int i = 0; i < wire->n_answers; i++)
        if (strstr(sql, wire->answers[i].text)) {
            rows = wire->answers[i].rows;
            *ret_n = wire->answers[i].n;
        }
    pthread_mutex_unlock(&wire->lock);
    return rows;
}

static void record(struct session *session, const char *sql, const struct pg_args *args) {
    struct wire *wire = session->wire;
    struct wire_statement *statement = memory_new(1, sizeof *statement);
    snprintf(statement->sql, sizeof statement->sql, "%s", sql);
    statement->args = *args;
    pthread_mutex_lock(&wire->lock);
    cr_assert_lt(wire->n_statements, STATEMENTS_MAX);
    wire->statements[wire->n_statements++] = statement;
    pthread_mutex_unlock(&wire->lock);
}

/* --- the client's messages --- */

/* Handles a simple query, which the set-up of a session and pg_exec use. */
static void simple_query(struct session *session, const char *sql) {
    static const struct pg_args schema = {.n = 2, .values = {"2200", "off"}, .lengths = {4, 3}};
    record(session, sql, &(struct pg_args){0});
    if (!failed(session, sql)) {
        if (strstr(sql, "current_schema")) {
            describe_columns(session, schema.n);
            add_row(session, &schema);
        }
        message(session, 'C', "OK", 3);
    }
    ready(session);
}

static int number_of(const char *name) {
    int number = atoi(name + 1);
    cr_assert(*name == 's' && number < STATEMENTS_MAX, "%s", name);
    return number;
}

static void parse(struct session *session, const char *body) {
    const char *sql = body + strlen(body) + 1;
    snprintf(session->prepared[number_of(body)], sizeof session->prepared[0], "%s", sql);
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
    session->portal = session->prepared[number_of(name)];
    record(session, session->portal, &args);
    message(session, '2', NULL, 0);
}

static void describe(struct session *session) {
    int n;
    const struct pg_args *rows = rows_of(session, session->portal, &n);
    if (rows && n > 0)
        describe_columns(session, rows[0].n);
    else
        message(session, 'n', NULL, 0);
}

static void execute(struct session *session) {
    int n = 0;
    const struct pg_args *rows = rows_of(session, session->portal, &n);
    session->skips = failed(session, session->portal);
    if (session->skips)
        return;
    for (int i = 0; i < n; i++)
        add_row(session, &rows[i]);
    message(session, 'C', "OK", 3);
}

/* Returns false if the client has disconnected. */
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
    return (type != 'S' && type != 'Q') || flush(session);
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

static void *run(void *arg) {
    struct wire *wire = arg;
    int socket;
    while ((socket = accept(wire->listener, NULL, NULL)) >= 0) {
        struct session *session = memory_new(1, sizeof *session);
        session->wire = wire;
        session->socket = socket;
        serve(session);
        strbuf_deinit(&session->out);
        free(session);
        close(socket);
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

void wire_answer(struct wire *wire, const char *text, const struct pg_args *rows, int n) {
    pthread_mutex_lock(&wire->lock);
    cr_assert_lt(wire->n_answers, ANSWERS_MAX);
    wire->answers[wire->n_answers].text = text;
    wire->answers[wire->n_answers].rows = rows;
    wire->answers[wire->n_answers++].n = n;
    pthread_mutex_unlock(&wire->lock);
}

static int find(struct wire *wire, const char *text, const struct wire_statement **ret_last) {
    int n = 0;
    pthread_mutex_lock(&wire->lock);
    for (int i = 0; i < wire->n_statements; i++)
        if (strstr(wire->statements[i]->sql, text)) {
            n++;
            *ret_last = wire->statements[i];
        }
    pthread_mutex_unlock(&wire->lock);
    return n;
}

int wire_count(struct wire *wire, const char *text) {
    const struct wire_statement *last;
    return find(wire, text, &last);
}

const struct wire_statement *wire_last(struct wire *wire, const char *text) {
    const struct wire_statement *last = NULL;
    cr_assert_gt(find(wire, text, &last), 0, "no statement has \"%s\"", text);
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

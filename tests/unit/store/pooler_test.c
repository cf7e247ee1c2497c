/* SPDX-License-Identifier: Apache-2.0 */
/* The wire answers as poolers in their modes do. */
#include "store/pooler.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "wire_fixture.h"

#define SESSION     "select pg_backend_pid()"
#define CONNECTIONS 5
#define QUESTIONS   (3 * CONNECTIONS)

TestSuite(pooler, .init = wire_set_up, .fini = wire_tear_down);

/* Decides which session of Postgres answers. `question` counts from 0 over all connections. */
struct pool {
    int (*session)(const struct pool *pool, int connection, int question);
    int n; /* sessions or processes */
    int questions;
    struct pg_args rows[QUESTIONS]; /* a thread of the wire may still read the one before */
    char names[QUESTIONS][32];
};

/* One client asks, so no two threads of the wire are here at the same time. */
static const struct pg_args *session_row(void *arg, int connection, const struct wire_statement *statement,
                                         int *ret_n) {
    struct pool *pool = arg;
    (void)statement;
    int question = pool->questions++;
    cr_assert_lt(question, QUESTIONS);
    snprintf(pool->names[question], sizeof pool->names[0], "%d 1700000000.5",
             pool->session(pool, connection, question));
    pg_arg_text(&pool->rows[question], pool->names[question]);
    *ret_n = 1;
    return &pool->rows[question];
}

static int own_session(const struct pool *pool, int connection, int question) {
    (void)pool;
    (void)question;
    return connection;
}

static int last_used(const struct pool *pool, int connection, int question) {
    (void)question;
    return connection % pool->n; /* each process of the pooler has one idle session */
}

static int in_turn(const struct pool *pool, int connection, int question) {
    (void)connection;
    return question % pool->n;
}

/* The pool has a session of its own for each connection, until another client takes that of connection n. */
static int taken_once(const struct pool *pool, int connection, int question) {
    return connection == pool->n && question >= 2 * CONNECTIONS ? 999 : connection;
}

static bool check(int (*session)(const struct pool *, int, int), int n, struct err *err) {
    struct pool *pool = arena_zalloc(&arena, sizeof *pool);
    struct pg_options options = {
        .url = wire_url(wire), .application_name = "test", .connect_timeout_s = 5, .statement_timeout_ms = 5000};
    *pool = (struct pool){.session = session, .n = n};
    wire_answer_by(wire, SESSION, session_row, pool);
    return pooler_check(&options, err);
}

static void expect_pooler(int (*session)(const struct pool *, int, int), int n) {
    struct err err = {0};
    cr_expect_not(check(session, n, &err), "%d", n);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_eq(err.backend, BACKEND_POSTGRES);
    cr_expect_not(err.retriable);
    cr_expect_not_null(strstr(err.text, "pool_mode=session"), "%s", err.text);
}

Test(pooler, connections_that_keep_a_session_each_are_fine) {
    struct err err = {0};
    cr_expect(check(own_session, 0, &err), "%s", err.text);
    cr_expect_eq(wire_count(wire, SESSION), QUESTIONS, "each connection asks three times");
}

Test(pooler, a_pooler_that_lends_the_session_used_last_is_refused_at_the_second_question) {
    expect_pooler(last_used, 1);
    cr_expect_eq(wire_count(wire, SESSION), 2);
}

Test(pooler, fewer_pools_than_connections_are_noticed) {
    for (int processes = 2; processes < CONNECTIONS; processes++)
        expect_pooler(last_used, processes);
}

Test(pooler, a_pooler_that_lends_its_sessions_in_turn_is_refused_whatever_their_number) {
    for (int sessions = 1; sessions <= 4 * CONNECTIONS; sessions++)
        expect_pooler(in_turn, sessions);
}

Test(pooler, a_connection_whose_session_changes_at_the_last_question_is_refused) {
    expect_pooler(taken_once, 1 + CONNECTIONS); /* the first connection of the wire is the fixture's */
    cr_expect_eq(wire_count(wire, SESSION), QUESTIONS);
}

Test(pooler, a_server_that_can_not_be_reached_is_no_pooler) {
    const struct pg_options options = {.url = "host=127.0.0.1 port=1", .application_name = "test"};
    struct err err = {0};
    cr_expect_not(pooler_check(&options, &err));
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect(err.retriable);
}

Test(pooler, a_question_that_fails_is_the_servers_error) {
    struct err err = {0};
    wire_fail(wire, SESSION, "42501");
    cr_expect_not(check(own_session, 0, &err));
    cr_expect_eq(err.code, ERR_PERMISSION);
    cr_expect_str_eq(err.sqlstate, "42501");
    cr_expect_eq(wire_count(wire, SESSION), 1);
    wire_fail(wire, SESSION, "");
    cr_expect_not(check(own_session, 0, &err));
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pg.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire.h"

static struct arena arena;

static void set_up(void) {
    arena_init(&arena, 4096);
}

static void tear_down(void) {
    arena_deinit(&arena);
}

TestSuite(pg, .init = set_up, .fini = tear_down);

/* --- the URL --- */

static void expect_url(const char *url, bool ok) {
    struct err err = {0};
    cr_expect_eq(pg_check_url(url, &err), ok, "%s: %s", url, err.text);
    if (!ok) {
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_null(strstr(err.text, "s3cret"), "%s", err.text);
    }
}

Test(pg, a_url_is_what_libpq_reads) {
    expect_url("postgres://u:p@127.0.0.1:5432/coupons", true);
    expect_url("postgresql:///coupons?host=/run/postgresql", true);
    expect_url("host=a,b port=5432,5433 dbname=d user=u password='x @/:'", true);
    expect_url("postgres://u:s3cret%40%2F@h/d", true);
    expect_url("", true);
}

Test(pg, a_url_that_takes_a_password_for_port_or_host_is_refused_and_not_repeated) {
    expect_url("postgres://u:s3cret@x:y@h/d", false);
    expect_url("postgres://u:s3cret/x@h:5432/d", false);
    expect_url("host=h port=s3cret", false);
    expect_url("host=h s3cret=1", false);
    expect_url("postgres://u@h/d?s3cret=1", false);
    expect_url("s3cret", false);
    expect_url("dbname=s3cret@h", false);
}

/* --- errors --- */

static struct err fail_with(struct pg *pg, const char *state) {
    char sql[20];
    struct err err = {0};
    snprintf(sql, sizeof sql, "fail %s", state);
    cr_assert(pg_connect(pg, &err), "%s", err.text);
    cr_assert_not(pg_exec(pg, sql, &err));
    cr_expect_str_eq(err.sqlstate, state);
    cr_expect_eq(err.backend, BACKEND_POSTGRES);
    cr_expect_str_eq(err.text, "it is so: see there");
    return err;
}

Test(pg, a_state_that_passes_is_retriable) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    static const char *const passing[] = {"40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "58030",
                                          "08006", "25P03", "25006", "28000", "28P01", "3D000", "0A000"};
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        struct err err = fail_with(pg, passing[i]);
        cr_expect_eq(err.code, ERR_UNAVAILABLE, "%s", passing[i]);
        cr_expect(err.retriable, "%s", passing[i]);
    }
    pg_free(pg);
    wire_free(wire);
}

Test(pg, a_state_that_no_repeat_mends_is_not_retriable) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    static const char *const lasting[] = {"23505", "42P01", "22003", "55006", "25P02", "XX000"};
    static const char *const forbidden[] = {"42501"};
    for (size_t i = 0; i < sizeof lasting / sizeof lasting[0]; i++) {
        struct err err = fail_with(pg, lasting[i]);
        cr_expect_eq(err.code, ERR_REFUSED, "%s", lasting[i]);
        cr_expect_not(err.retriable, "%s", lasting[i]);
    }
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        struct err err = fail_with(pg, forbidden[i]);
        cr_expect_eq(err.code, ERR_PERMISSION, "%s", forbidden[i]);
        cr_expect_not(err.retriable, "%s", forbidden[i]);
    }
    cr_assert(pg_is_connected(pg), "an error costs no connection");
    pg_free(pg);
    wire_free(wire);
}

Test(pg, a_state_that_this_session_can_not_leave_ends_the_connection) {
    static const struct pg_statement read_only = {"fail 25006"}, deadlock = {"fail 40P01"};
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    PGresult *result;
    struct err err = {0};
    fail_with(pg, "40001");
    cr_assert(pg_is_connected(pg));
    fail_with(pg, "25006");
    cr_assert_not(pg_is_connected(pg));
    cr_assert(pg_connect(pg, &err), "%s", err.text);
    pg_send(pg, &deadlock, NULL);
    cr_assert_not(pg_collect(pg, &result, 1, &err));
    cr_assert(pg_is_connected(pg));
    pg_send(pg, &read_only, NULL);
    cr_assert_not(pg_collect(pg, &result, 1, &err));
    cr_assert_not(pg_is_connected(pg));
    cr_expect_str_eq(err.sqlstate, "25006");
    cr_expect(err.retriable);
    pg_free(pg);
    wire_free(wire);
}

Test(pg, after_a_failed_attempt_to_connect_the_next_one_waits_a_moment) {
    struct err first = {0}, second = {0};
    struct pg *pg = pg_new(&(struct pg_options){.url = "host=127.0.0.1 port=1", .application_name = "test"});
    cr_assert_not(pg_connect(pg, &first));
    cr_expect(first.retriable);
    cr_assert_not(pg_connect(pg, &second));
    cr_expect_str_eq(second.text, first.text);
    cr_expect(second.retriable);
    pg_free(pg);
}

Test(pg, a_session_says_what_it_needs_whatever_the_defaults_are) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    static const char *const settings[] = {"statement_timeout = ", "lock_timeout = 0",
                                           "default_transaction_isolation = 'read committed'",
                                           "synchronous_commit = on", "exit_on_error = off"};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        cr_expect_eq(wire_count(wire, settings[i]), 1, "%s", settings[i]);
    pg_free(pg);
    wire_free(wire);
}

/* --- round trips --- */

static const struct pg_statement select_it = {"select it"}, other = {"select other"}, bad = {"fail 23505"};

Test(pg, results_of_a_round_trip_come_in_the_order_of_its_statements) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    struct pg_args it = {0}, others = {0};
    PGresult *results[3];
    struct err err = {0};
    pg_arg_int8(&it, &arena, 7);
    pg_arg_int8(&others, &arena, 8);
    wire_answer(wire, "select it", &it, 1);
    wire_answer(wire, "select other", &others, 1);
    pg_send(pg, &other, NULL);
    pg_send(pg, &select_it, NULL);
    pg_send(pg, &other, NULL);
    cr_assert(pg_collect(pg, results, 3, &err), "%s", err.text);
    cr_assert_eq(pg_int8(results[0], 0, 0), 8);
    cr_assert_eq(pg_int8(results[1], 0, 0), 7);
    cr_assert_eq(pg_int8(results[2], 0, 0), 8);
    pg_clear(results, 3);
    cr_assert_null(results[0]);
    pg_free(pg);
    wire_free(wire);
}

Test(pg, the_first_error_of_a_round_trip_is_told_and_the_next_round_trip_is_sound) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    PGresult *results[3];
    struct err err = {0};
    pg_send(pg, &select_it, NULL);
    pg_send(pg, &bad, NULL);
    pg_send(pg, &other, NULL);
    cr_assert_not(pg_collect(pg, results, 3, &err));
    cr_assert_str_eq(err.sqlstate, "23505");
    cr_assert_null(results[0]);
    cr_assert(pg_is_connected(pg));
    cr_assert_eq(wire_count(wire, "select other"), 0);
    pg_send(pg, &select_it, NULL);
    cr_assert(pg_collect(pg, results, 1, &err), "%s", err.text);
    pg_clear(results, 1);
    pg_free(pg);
    wire_free(wire);
}

Test(pg, without_a_connection_a_round_trip_fails_retriably_and_a_new_one_may_follow) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    PGresult *result;
    struct err err = {0};
    cr_assert_eq(pg_generation(pg), 1);
    pg_disconnect(pg);
    pg_send(pg, &select_it, NULL);
    cr_assert_not(pg_collect(pg, &result, 1, &err));
    cr_assert(err.retriable);
    cr_assert(pg_connect(pg, &err), "%s", err.text);
    cr_assert_eq(pg_generation(pg), 2);
    pg_send(pg, &select_it, NULL);
    cr_assert(pg_collect(pg, &result, 1, &err), "%s", err.text);
    pg_clear(&result, 1);
    pg_free(pg);
    wire_free(wire);
}

/* A text that no socket's buffers hold if it is sent this number of times. */
#define LARGE       900000
#define LARGE_TIMES 14

/* Sends a round trip that begins with "select held" and is larger than the buffers of the sockets. */
static void send_large(struct pg *pg) {
    static const struct pg_statement held = {"select held"}, large = {"select large"};
    struct pg_args args = {0};
    char *text = arena_alloc(&arena, LARGE + 1);
    memset(text, 'x', LARGE);
    text[LARGE] = '\0';
    pg_arg_text(&args, text);
    pg_send(pg, &held, NULL);
    for (int i = 0; i < LARGE_TIMES; i++)
        pg_send(pg, &large, &args);
}

/* As long as this function waits, the wire reads nothing from the client. */
static const struct pg_args *hold(void *arg, int connection, const struct wire_statement *statement, int *ret_n) {
    const int *gate = arg;
    char byte;
    (void)connection, (void)statement;
    *ret_n = 0;
    cr_assert_geq(read(*gate, &byte, 1), 0);
    return NULL;
}

Test(pg, a_server_that_takes_no_more_of_a_batch_is_given_up_in_time, .timeout = 60) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    int gate[2];
    PGresult *results[LARGE_TIMES + 1];
    struct err err = {0};
    cr_assert_eq(pipe(gate), 0);
    wire_answer_by(wire, "select held", hold, &gate[0]);
    int64_t from_us = clock_mono_us();
    pg_give_up_at(pg, from_us + 300 * US_PER_MS);
    send_large(pg);
    cr_expect_not(pg_collect(pg, results, LARGE_TIMES + 1, &err));
    cr_expect_str_eq(err.text, "the server has been silent for too long");
    cr_expect(err.retriable);
    cr_expect_not(pg_is_connected(pg));
    cr_expect_lt(clock_mono_us() - from_us, 5 * US_PER_S, "TCP would give up after 7 s");
    close(gate[1]);
    pg_free(pg);
    wire_free(wire);
    close(gate[0]);
}

Test(pg, a_server_that_takes_a_large_batch_piece_by_piece_gets_all_of_it, .timeout = 60) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    int gate[2];
    PGresult *results[LARGE_TIMES + 1];
    struct err err = {0};
    cr_assert_eq(pipe(gate), 0);
    cr_assert_eq(write(gate[1], "x", 1), 1);
    wire_answer_by(wire, "select held", hold, &gate[0]);
    send_large(pg);
    cr_assert(pg_collect(pg, results, LARGE_TIMES + 1, &err), "%s", err.text);
    pg_clear(results, LARGE_TIMES + 1);
    cr_expect_eq(wire_count(wire, "select large"), LARGE_TIMES);
    cr_expect_eq(wire_last(wire, "select large")->args.lengths[0], LARGE);
    pg_free(pg);
    wire_free(wire);
    close(gate[0]);
    close(gate[1]);
}

Test(pg, lock_keys_differ_by_schema_stage_and_lane) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire), *unconnected = pg_new(&(struct pg_options){.url = ""});
    cr_assert_eq(pg_lock_key(pg, PG_LOCK_ADMIT, 5), INT64_C(2200) << 32 | 2 << 24 | 5);
    cr_assert_neq(pg_lock_key(pg, PG_LOCK_ADMIT, 5), pg_lock_key(pg, PG_LOCK_ISSUE, 5));
    cr_assert_neq(pg_lock_key(pg, PG_LOCK_ADMIT, 5), pg_lock_key(unconnected, PG_LOCK_ADMIT, 5));
    pg_free(unconnected);
    pg_free(pg);
    wire_free(wire);
}

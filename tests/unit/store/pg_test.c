/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pg.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "wire.h"

static struct arena arena;

static void set_up(void) {
    arena_init(&arena, 4096);
}

static void tear_down(void) {
    arena_deinit(&arena);
}

TestSuite(pg, .init = set_up, .fini = tear_down);

/* --- parameters --- */

#define EXPECT_ARG(args, i, type, bytes) expect_arg((args), (i), (type), (bytes), sizeof(bytes) - 1)

static void expect_arg(const struct pg_args *args, int i, Oid type, const char *bytes, size_t len) {
    cr_assert_gt(args->n, i);
    cr_expect_eq(args->types[i], type, "argument %d has type %u", i, args->types[i]);
    cr_assert_eq((size_t)args->lengths[i], len, "argument %d has %d bytes", i, args->lengths[i]);
    cr_expect_eq(memcmp(args->values[i], bytes, len), 0, "argument %d", i);
}

Test(pg, a_number_is_sent_in_network_order_with_its_type) {
    struct pg_args args = {0};
    pg_arg_int2(&args, &arena, -2);
    pg_arg_int4(&args, &arena, 0x01020304);
    pg_arg_int8(&args, &arena, INT64_C(-2));
    pg_arg_bool(&args, &arena, true);
    pg_arg_float8(&args, &arena, 1.0);
    cr_assert_eq(args.n, 5);
    EXPECT_ARG(&args, 0, 21, "\xff\xfe");
    EXPECT_ARG(&args, 1, 23, "\1\2\3\4");
    EXPECT_ARG(&args, 2, 20, "\xff\xff\xff\xff\xff\xff\xff\xfe");
    EXPECT_ARG(&args, 3, 16, "\1");
    EXPECT_ARG(&args, 4, 701, "\x3f\xf0\0\0\0\0\0\0");
}

Test(pg, a_text_is_sent_without_its_nul_and_a_missing_one_is_null) {
    struct pg_args args = {0};
    pg_arg_text(&args, "쿠폰");
    pg_arg_text(&args, "");
    pg_arg_text(&args, NULL);
    EXPECT_ARG(&args, 0, 25, "쿠폰");
    EXPECT_ARG(&args, 1, 25, "");
    cr_assert_not_null(args.values[1], "an empty text is not null");
    cr_assert_null(args.values[2]);
}

Test(pg, a_time_counts_from_the_year_2000_and_no_time_is_null) {
    struct pg_args args = {0};
    pg_arg_time(&args, &arena, INT64_C(946684800000000) + 1);
    pg_arg_time(&args, &arena, INT64_MIN);
    pg_arg_time(&args, &arena, INT64_MAX);
    EXPECT_ARG(&args, 0, 1184, "\0\0\0\0\0\0\0\1");
    cr_assert_null(args.values[1]);
    cr_assert_null(args.values[2]);
    cr_assert_eq(args.types[2], 1184);
}

#define HEADER(element, n)                                                                                             \
    "\0\0\0\1"                                                                                                         \
    "\0\0\0\1"                                                                                                         \
    "\0\0" element "\0\0\0" n "\0\0\0\1"

Test(pg, an_array_has_one_dimension_and_each_element_its_length) {
    const int32_t small[] = {1, -1};
    const int64_t large[] = {INT64_C(0x0102030405060708)};
    struct pg_args args = {0};
    pg_arg_int4s(&args, &arena, small, 2);
    pg_arg_int8s(&args, &arena, large, 1);
    pg_arg_int8s(&args, &arena, large, 0);
    EXPECT_ARG(&args, 0, 1007, HEADER("\0\x17", "\2") "\0\0\0\4\0\0\0\1\0\0\0\4\xff\xff\xff\xff");
    EXPECT_ARG(&args, 1, 1016, HEADER("\0\x14", "\1") "\0\0\0\x8\1\2\3\4\5\6\7\x8");
    EXPECT_ARG(&args, 2, 1016, HEADER("\0\x14", "\0"));
}

Test(pg, an_array_tells_null_from_empty) {
    const char *texts[] = {"ab", NULL, ""};
    const struct pg_bytes bytes[] = {{"\0\xff", 2}, {NULL, 7}, {"", 0}};
    struct pg_args args = {0};
    pg_arg_texts(&args, &arena, texts, 3);
    pg_arg_byteas(&args, &arena, bytes, 3);
    EXPECT_ARG(&args, 0, 1009,
               HEADER("\0\x19", "\3") "\0\0\0\2"
                                      "ab"
                                      "\xff\xff\xff\xff"
                                      "\0\0\0\0");
    EXPECT_ARG(&args, 1, 1001,
               HEADER("\0\x11", "\3") "\0\0\0\2"
                                      "\0\xff"
                                      "\xff\xff\xff\xff"
                                      "\0\0\0\0");
}

/* --- results --- */

Test(pg, values_come_back_as_they_were_sent) {
    const double doubles[] = {0.1, -INFINITY, 5e-324};
    const int64_t numbers[] = {0, -1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < 4; i++) {
        struct pg_args row = {0};
        pg_arg_int8(&row, &arena, numbers[i]);
        pg_arg_int4(&row, &arena, (int32_t)numbers[i]);
        pg_arg_int2(&row, &arena, (int16_t)numbers[i]);
        pg_arg_bool(&row, &arena, i % 2);
        pg_arg_float8(&row, &arena, doubles[i % 3]);
        PGresult *result = rows_result(&row, 1);
        cr_expect_eq(pg_int8(result, 0, 0), numbers[i]);
        cr_expect_eq(pg_int4(result, 0, 1), (int32_t)numbers[i]);
        cr_expect_eq(pg_int2(result, 0, 2), (int16_t)numbers[i]);
        cr_expect_eq(pg_bool(result, 0, 3), i % 2 == 1);
        cr_expect_eq(pg_float8(result, 0, 4), doubles[i % 3]);
        PQclear(result);
    }
}

Test(pg, a_null_time_is_read_as_what_stands_for_none) {
    struct pg_args row = {0};
    pg_arg_time(&row, &arena, 1700000000123456);
    pg_arg_time(&row, &arena, INT64_MAX);
    pg_arg_time(&row, &arena, 0);
    PGresult *result = rows_result(&row, 1);
    cr_expect_eq(pg_time(result, 0, 0, -5), 1700000000123456);
    cr_expect_eq(pg_time(result, 0, 1, -5), -5);
    cr_expect_eq(pg_time(result, 0, 2, -5), 0, "1970 lies before what Postgres counts from");
    PQclear(result);
}

Test(pg, a_time_without_end_is_the_end_of_the_range) {
    static const int64_t sent[] = {INT64_MAX, INT64_MIN, INT64_MAX - 1, INT64_C(9223371331200000000)};
    static const int64_t read[] = {INT64_MAX, INT64_MIN, INT64_MAX, INT64_MAX};
    for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++) {
        struct pg_args row = {0};
        pg_arg_int8(&row, &arena, sent[i]);
        PGresult *result = rows_result(&row, 1);
        cr_expect_eq(pg_time(result, 0, 0, -5), read[i], "%zu", i);
        PQclear(result);
    }
}

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

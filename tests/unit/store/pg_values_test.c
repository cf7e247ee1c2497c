/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "wire.h"

static struct arena arena;

static void set_up(void) {
    arena_init(&arena, 4096);
}

static void tear_down(void) {
    arena_deinit(&arena);
}

TestSuite(pg_values, .init = set_up, .fini = tear_down);

/* --- parameters --- */

#define EXPECT_ARG(args, i, type, bytes) expect_arg((args), (i), (type), (bytes), sizeof(bytes) - 1)

static void expect_arg(const struct pg_args *args, int i, Oid type, const char *bytes, size_t len) {
    cr_assert_gt(args->n, i);
    cr_expect_eq(args->types[i], type, "argument %d has type %u", i, args->types[i]);
    cr_assert_eq((size_t)args->lengths[i], len, "argument %d has %d bytes", i, args->lengths[i]);
    cr_expect_eq(memcmp(args->values[i], bytes, len), 0, "argument %d", i);
}

Test(pg_values, a_number_is_sent_in_network_order_with_its_type) {
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

Test(pg_values, a_text_is_sent_without_its_nul_and_a_missing_one_is_null) {
    struct pg_args args = {0};
    pg_arg_text(&args, "쿠폰");
    pg_arg_text(&args, "");
    pg_arg_text(&args, NULL);
    EXPECT_ARG(&args, 0, 25, "쿠폰");
    EXPECT_ARG(&args, 1, 25, "");
    cr_assert_not_null(args.values[1], "an empty text is not null");
    cr_assert_null(args.values[2]);
}

Test(pg_values, a_time_counts_from_the_year_2000_and_no_time_is_null) {
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

Test(pg_values, an_array_has_one_dimension_and_each_element_its_length) {
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

Test(pg_values, an_array_tells_null_from_empty) {
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

Test(pg_values, the_greatest_and_the_least_numbers_are_sent_whole) {
    struct pg_args args = {0};
    pg_arg_int2(&args, &arena, INT16_MIN);
    pg_arg_int4(&args, &arena, INT32_MAX);
    pg_arg_int8(&args, &arena, INT64_MIN);
    pg_arg_int8(&args, &arena, INT64_MAX);
    pg_arg_bool(&args, &arena, false);
    pg_arg_int8(&args, &arena, 0);
    EXPECT_ARG(&args, 0, 21, "\x80\0");
    EXPECT_ARG(&args, 1, 23, "\x7f\xff\xff\xff");
    EXPECT_ARG(&args, 2, 20, "\x80\0\0\0\0\0\0\0");
    EXPECT_ARG(&args, 3, 20, "\x7f\xff\xff\xff\xff\xff\xff\xff");
    EXPECT_ARG(&args, 4, 16, "\0");
    EXPECT_ARG(&args, 5, 20, "\0\0\0\0\0\0\0\0");
}

Test(pg_values, a_time_before_2000_is_negative_and_one_next_to_no_time_is_a_time) {
    struct pg_args args = {0};
    pg_arg_time(&args, &arena, INT64_C(946684800000000) - 1);
    pg_arg_time(&args, &arena, INT64_C(946684800000000));
    pg_arg_time(&args, &arena, INT64_MAX - 1);
    EXPECT_ARG(&args, 0, 1184, "\xff\xff\xff\xff\xff\xff\xff\xff");
    EXPECT_ARG(&args, 1, 1184, "\0\0\0\0\0\0\0\0");
    EXPECT_ARG(&args, 2, 1184, "\x7f\xfc\xa2\xfe\xc4\xc8\x1f\xfe");
}

Test(pg_values, an_array_of_many_elements_has_each_in_its_place) {
    enum { N = 70000 };
    int64_t *values = ARENA_ARRAY(&arena, int64_t, N), *read = ARENA_ARRAY(&arena, int64_t, N);
    struct wire_statement statement = {.sql = ""};
    for (int i = 0; i < N; i++)
        values[i] = INT64_MAX - i;
    pg_arg_int8s(&statement.args, &arena, values, N);
    cr_assert_eq(wire_int8s(&statement, 0, read, N), N);
    cr_expect_eq(memcmp(values, read, N * sizeof *values), 0);
}

Test(pg_values, an_array_without_elements_has_a_header_only_whatever_its_type) {
    struct pg_args args = {0};
    pg_arg_int4s(&args, &arena, NULL, 0);
    pg_arg_texts(&args, &arena, NULL, 0);
    pg_arg_byteas(&args, &arena, NULL, 0);
    EXPECT_ARG(&args, 0, 1007, HEADER("\0\x17", "\0"));
    EXPECT_ARG(&args, 1, 1009, HEADER("\0\x19", "\0"));
    EXPECT_ARG(&args, 2, 1001, HEADER("\0\x11", "\0"));
}

Test(pg_values, a_statement_takes_eighteen_parameters) {
    struct pg_args args = {0};
    for (int i = 0; i < PG_MAX_ARGS; i++)
        pg_arg_text(&args, "x");
    cr_assert_eq(args.n, 18);
}

Test(pg_values, one_parameter_more_is_a_defect, .signal = SIGABRT) {
    struct pg_args args = {.n = PG_MAX_ARGS};
    pg_arg_text(&args, "x");
}

/* --- results --- */

Test(pg_values, values_come_back_as_they_were_sent) {
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

Test(pg_values, a_null_time_is_read_as_what_stands_for_none) {
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

Test(pg_values, a_time_without_end_is_the_end_of_the_range) {
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

Test(pg_values, a_value_is_read_from_its_row_and_column) {
    struct pg_args rows[3] = {{0}};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++)
            pg_arg_int8(&rows[i], &arena, 10 * i + j);
    PGresult *result = rows_result(rows, 3);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++)
            cr_expect_eq(pg_int8(result, i, j), 10 * i + j);
    PQclear(result);
}

Test(pg_values, the_last_time_that_fits_is_read_as_it_is_and_each_later_one_as_the_end) {
    static const int64_t sent[] = {INT64_MAX - INT64_C(946684800000000), INT64_MAX - INT64_C(946684800000000) + 1,
                                   INT64_MAX - INT64_C(946684800000000) - 1, INT64_MIN + 1};
    static const int64_t read[] = {INT64_MAX, INT64_MAX, INT64_MAX - 1, INT64_MIN + 1 + INT64_C(946684800000000)};
    struct pg_args row = {0};
    for (int i = 0; i < 4; i++)
        pg_arg_int8(&row, &arena, sent[i]);
    PGresult *result = rows_result(&row, 1);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(pg_time(result, 0, i, -5), read[i], "%d", i);
    PQclear(result);
}

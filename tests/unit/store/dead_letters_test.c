/* SPDX-License-Identifier: Apache-2.0 */
#include "store/dead_letters.h"

#include <criterion/criterion.h>
#include <string.h>

#include "wire.h"

static struct arena arena;
static struct dead_letters letters;

static void set_up(void) {
    arena_init(&arena, 4096);
    dead_letters_init(&letters, &arena, 10);
}

static void tear_down(void) {
    arena_deinit(&arena);
}

TestSuite(dead_letters, .init = set_up, .fini = tear_down);

static int64_t coupon_of_key(const char *key, size_t len) {
    const struct kafka_message message = {.place = {"t", 0}, .key = key, .key_len = len};
    dead_letters_put(&letters, &message, 0, "garbage");
    return letters.coupon_id[letters.n - 1];
}

Test(dead_letters, a_message_that_cannot_be_decoded_belongs_to_the_coupon_of_its_key) {
    cr_expect_eq(coupon_of_key("42", 2), 42);
    cr_expect_eq(coupon_of_key("9223372036854775807", 19), INT64_MAX);
    cr_expect_eq(coupon_of_key("9223372036854775808", 19), 0);
    cr_expect_eq(coupon_of_key("4x", 2), 0);
    cr_expect_eq(coupon_of_key("-4", 2), 0);
    cr_expect_eq(coupon_of_key("", 0), 0);
    cr_expect_eq(coupon_of_key(NULL, 0), 0);
}

Test(dead_letters, the_coupon_of_the_event_counts_more_than_the_key) {
    const struct kafka_message message = {.place = {"t", 0}, .key = "42", .key_len = 2};
    dead_letters_put(&letters, &message, 7, "forged");
    cr_assert_eq(letters.coupon_id[0], 7);
}

Test(dead_letters, no_memory_is_taken_before_the_first_letter) {
    cr_assert_eq(letters.n, 0);
    cr_assert_null(letters.place);
    coupon_of_key("1", 1);
    cr_assert_not_null(letters.place);
}

Test(dead_letters, a_letter_is_stored_with_its_place_and_the_beginning_of_what_is_too_long) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    static char garbage[10000];
    memset(garbage, '7', sizeof garbage);
    const struct kafka_message small = {.place = {"a", 1}, .offset = 5, .value = "v", .value_len = 1};
    const struct kafka_message large = {.place = {"b", 2},
                                        .offset = 6,
                                        .key = garbage,
                                        .key_len = sizeof garbage,
                                        .value = garbage,
                                        .value_len = sizeof garbage};
    struct err err = {0};
    dead_letters_put(&letters, &small, 0, "one");
    dead_letters_put(&letters, &large, 0, "two");
    cr_assert(dead_letters_add(pg, &arena, &letters, &err), "%s", err.text);

    const struct wire_statement *insert = wire_last(wire, "insert into dead_letter");
    struct pg_bytes bytes[2];
    int64_t numbers[2];
    cr_assert_eq(wire_bytes(insert, 0, bytes, 2), 2);
    cr_expect_eq(memcmp(bytes[1].data, "b", 1), 0);
    wire_int8s(insert, 1, numbers, 2);
    cr_expect_eq(numbers[1], 2);
    wire_int8s(insert, 2, numbers, 2);
    cr_expect_eq(numbers[0], 5);
    wire_bytes(insert, 3, bytes, 2);
    cr_expect_null(bytes[0].data, "no key is null");
    cr_expect_eq(bytes[1].len, DEAD_LETTER_KEY_MAX);
    wire_bytes(insert, 4, bytes, 2);
    cr_expect_eq(bytes[0].len, 1);
    cr_expect_eq(bytes[1].len, DEAD_LETTER_VALUE_MAX);
    wire_int8s(insert, 5, numbers, 2);
    cr_expect_eq(numbers[1], sizeof garbage, "the size it had");
    wire_bytes(insert, 6, bytes, 2);
    cr_expect_eq(memcmp(bytes[1].data, "two", 3), 0);
    wire_int8s(insert, 7, numbers, 2);
    cr_expect_eq(numbers[1], 0, "a key of 10,000 digits is no id");
    pg_free(pg);
    wire_free(wire);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "api/page.h"

#include <criterion/criterion.h>

/* Reads a page. Returns the bad field's name, or NULL. */
static const char *read_page(int32_t page_size, const char *token, int32_t *ret_size, int64_t *ret_after) {
    struct rpc_bad_fields bad = {0};
    page_read(&bad, page_size, token, ret_size, ret_after);
    cr_assert_leq(bad.n, 1);
    return bad.n ? bad.list[0].field : NULL;
}

static void expect_page(int32_t page_size, const char *token, int32_t size, int64_t after) {
    int32_t got_size;
    int64_t got_after;
    cr_expect_null(read_page(page_size, token, &got_size, &got_after), "%d, %s", page_size, token);
    cr_expect_eq(got_size, size, "%d: %d", page_size, got_size);
    cr_expect_eq(got_after, after, "%s: %ld", token, (long)got_after);
}

Test(page, a_size_of_0_is_100_and_a_larger_one_is_cut_to_1000) {
    expect_page(0, "", 100, 0);
    expect_page(1, "", 1, 0);
    expect_page(1000, "", 1000, 0);
    expect_page(1001, "", 1000, 0);
    expect_page(INT32_MAX, "", 1000, 0);
}

Test(page, a_negative_size_is_a_bad_field) {
    int32_t size;
    int64_t after;
    cr_assert_str_eq(read_page(-1, "", &size, &after), "page_size");
    cr_assert_str_eq(read_page(INT32_MIN, "", &size, &after), "page_size");
}

Test(page, a_token_is_the_id_to_go_on_after) {
    expect_page(5, "1", 5, 1);
    expect_page(5, "9223372036854775807", 5, INT64_MAX);
}

Test(page, a_token_that_no_page_gave_is_a_bad_field) {
    static const char *const bad[] = {"0", "-1", "+1", " 1", "1 ", "x", "1x", "9223372036854775808", "0x1"};
    int32_t size;
    int64_t after;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *field = read_page(5, bad[i], &size, &after);
        cr_assert_not_null(field, "%s", bad[i]);
        cr_expect_str_eq(field, "page_token");
    }
}

Test(page, size_and_token_are_both_named_when_both_are_bad) {
    struct rpc_bad_fields bad = {0};
    int32_t size;
    int64_t after;
    page_read(&bad, -1, "x", &size, &after);
    cr_assert_eq(bad.n, 2);
}

Test(page, the_next_token_is_read_back_and_the_last_page_has_none) {
    char token[PAGE_TOKEN_MAX];
    cr_assert_str_eq(page_token(token, 42, true), "42");
    expect_page(5, token, 5, 42);
    expect_page(5, page_token(token, INT64_MAX, true), 5, INT64_MAX);
    cr_assert_str_eq(page_token(token, 42, false), "");
}

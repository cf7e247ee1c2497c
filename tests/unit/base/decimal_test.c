/* SPDX-License-Identifier: Apache-2.0 */
#include "base/decimal.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void check(int64_t value) {
    char text[DECIMAL_MAX], expected[32];
    size_t len = decimal_write(value, text);
    int expected_len = snprintf(expected, sizeof expected, "%" PRId64, value);
    cr_assert_eq(len, (size_t)expected_len);
    cr_assert_eq(memcmp(text, expected, len), 0, "%s", expected);
}

Test(decimal, writes_what_printf_does) {
    static const int64_t values[] = {0, 1, -1, 9, 10, 99, 100, -100, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        check(values[i]);
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 10000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        check((int64_t)(x >> (i % 64)));
        check(-(int64_t)(x >> (i % 64)));
    }
}

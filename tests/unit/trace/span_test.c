/* SPDX-License-Identifier: Apache-2.0 */
#include "trace/span.h"

#include <criterion/criterion.h>
#include <string.h>

Test(trace_span, keeps_the_error_it_is_given) {
    struct trace_span span = {0};
    trace_span_fail(&span, "no connection");
    cr_expect(span.is_error);
    cr_expect_str_eq(span.error, "no connection");
}

Test(trace_span, cuts_a_long_error_between_two_characters) {
    char error[3 * TRACE_TEXT_SIZE];
    for (size_t before = 0; before < 4; before++) {
        struct trace_span span = {0};
        memset(error, 'a', before);
        for (size_t at = before; at + 3 < sizeof error; at += 3)
            memcpy(error + at, "\u20ac", 4);
        trace_span_fail(&span, error);
        size_t len = strlen(span.error);
        cr_expect_gt(len, TRACE_TEXT_SIZE - 5);
        cr_expect_lt(len, TRACE_TEXT_SIZE);
        cr_expect_eq((len - before) % 3, 0);
        cr_expect_eq(memcmp(span.error, error, len), 0);
    }
}

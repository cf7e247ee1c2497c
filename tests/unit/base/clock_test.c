/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"

Test(clock, the_monotonic_clock_does_not_go_back) {
    int64_t last = clock_mono_us();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_us();
        cr_assert_geq(now, last);
        last = now;
    }
}

Test(clock, a_wall_time_is_written_in_utc_with_microseconds) {
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {1769860800000001, "2026-01-31T12:00:00.000001Z"},
        {951782400000000, "2000-02-29T00:00:00.000000Z"},
        {4107542400000000, "2100-03-01T00:00:00.000000Z"},
        {INT64_MIN, "0001-01-01T00:00:00.000000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999999Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[28];
        cr_expect_eq(clock_format(cases[i].us, out), out);
        cr_expect_str_eq(out, cases[i].text);
    }
}

Test(clock, every_form_of_rfc_3339_is_read) {
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-31T12:00:00Z", 1769860800000000},
        {"2026-01-31t12:00:00.5z", 1769860800500000},
        {"2026-01-31 12:00:00.0000019Z", 1769860800000001},
        {"2026-01-31T21:00:00+09:00", 1769860800000000},
        {"2026-01-31T06:30:00-05:30", 1769860800000000},
        {"1969-12-31T23:59:59.999999Z", -1},
        {"2016-12-31T23:59:60Z", 1483228800000000},
        {"2000-02-29T00:00:00Z", 951782400000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t us = 1;
        cr_expect(clock_parse(cases[i].text, &us), "%s", cases[i].text);
        cr_expect_eq(us, cases[i].us, "%s", cases[i].text);
    }
}

Test(clock, what_is_not_rfc_3339_is_refused_and_leaves_the_result_alone) {
    static const char *const texts[] = {
        "",
        "now",
        "2026-01-31",
        "2026-01-31T12:00Z",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00Z ",
        " 2026-01-31T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2100-02-29T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-00-01T12:00:00Z",
        "2026-01-00T12:00:00Z",
        "0000-01-01T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+0900",
        "2026-1-31T12:00:00Z",
        "+026-01-31T12:00:00Z",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int64_t us = 42;
        cr_expect_not(clock_parse(texts[i], &us), "%s", texts[i]);
        cr_expect_eq(us, 42);
    }
}

Test(clock, what_is_written_reads_back_the_same) {
    /* A step of some 37 days that hits every month and hour over eight centuries. */
    for (int64_t us = -12219292800000000; us < 13000000000000000; us += 3210987654321) {
        char out[28];
        int64_t back;
        cr_assert(clock_parse(clock_format(us, out), &back), "%s", out);
        cr_assert_eq(back, us, "%s", out);
    }
}

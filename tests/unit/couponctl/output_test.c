/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

/* Returns the output of print_safely for a text; the caller frees it. */
static char *safe(const char *text) {
    char *written = NULL;
    size_t len;
    FILE *out = open_memstream(&written, &len);
    print_safely(out, text);
    fclose(out);
    return written;
}

static void expect_safe(const char *text, const char *expected) {
    char *written = safe(text);
    cr_expect_str_eq(written, expected);
    free(written);
}

Test(output, control_characters_become_question_marks_and_line_breaks_stay) {
    expect_safe("tea\n", "tea\n");
    expect_safe("\033[2Jtea\r\t\177", "?[2Jtea???");
    expect_safe("K\xc3\xa4se", "K\xc3\xa4se");
}

Test(output, names_come_without_the_prefix_of_their_enum) {
    cr_expect_str_eq(state_name(COUPON__V1__PUBLISH_STATUS__STATE__STATE_ISSUED), "ISSUED");
    cr_expect_str_eq(state_name(COUPON__V1__PUBLISH_STATUS__STATE__STATE_ACCEPTED), "ACCEPTED");
    cr_expect_str_eq(reject_reason_name(COUPON__V1__REJECT_REASON__REJECT_REASON_EXPIRED), "EXPIRED");
    cr_expect_str_eq(state_name((Coupon__V1__PublishStatus__State)99), "?");
}

Test(output, times_go_to_microseconds_and_back) {
    static const int64_t times_us[] = {0, 1, 1000000, 1767225599999999, -1, -1000000, -1500000};
    for (size_t i = 0; i < sizeof times_us / sizeof *times_us; i++) {
        Google__Protobuf__Timestamp time = timestamp_of(times_us[i]);
        cr_expect_eq(timestamp_us(&time), times_us[i]);
        cr_expect_geq(time.nanos, 0);
        cr_expect_lt(time.nanos, 1000000000);
    }
}

Test(output, a_time_beyond_the_range_is_the_last_one) {
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    time.seconds = INT64_MAX / 1000;
    cr_expect_eq(timestamp_us(&time), INT64_MAX);
}

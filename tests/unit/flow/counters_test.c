/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/counters.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/metrics.h"

static void expect_line(const char *line) {
    struct strbuf text = {0};
    metrics_render(&text);
    cr_expect(strstr(text.data, line), "no \"%s\" in:\n%s", line, text.data);
    strbuf_deinit(&text);
}

Test(counters, counting_before_they_are_registered_does_no_harm) {
    counters_accepted(1);
    counters_refused(REASON_SOLD_OUT);
    counters_register();
    expect_line("couponsd_accepted_total 0\n");
}

Test(counters, each_reason_is_counted_apart_and_shows_before_it_happens) {
    counters_register();
    counters_refused(REASON_SOLD_OUT);
    counters_refused(REASON_SOLD_OUT);
    counters_refused(REASON_STOPPING);
    expect_line("couponsd_refused_total{reason=\"SOLD_OUT\"} 2\n");
    expect_line("couponsd_refused_total{reason=\"STOPPING\"} 1\n");
    expect_line("couponsd_refused_total{reason=\"PERMISSION\"} 0\n");
}

Test(counters, totals_add_up) {
    counters_register();
    counters_accepted(3);
    counters_accepted(4);
    counters_issued(2);
    counters_rejected(1);
    counters_dead_lettered(5);
    expect_line("couponsd_accepted_total 7\n");
    expect_line("couponsd_issued_total 2\n");
    expect_line("couponsd_rejected_total 1\n");
    expect_line("couponsd_dead_letters_total 5\n");
}

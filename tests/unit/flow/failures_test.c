/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "flow/relay/failures.h"

Test(failures, the_first_pause_is_none_and_the_next_ones_double_to_ten_seconds) {
    struct relay_pause pause = {0};
    relay_pause_begin(&pause);
    cr_assert(relay_pause_is_over(&pause));
    static const int64_t lengths_ms[] = {250, 500, 1000, 2000, 4000, 8000, 10000, 10000};
    for (size_t i = 0; i < sizeof lengths_ms / sizeof lengths_ms[0]; i++) {
        int64_t before_us = clock_mono_us();
        relay_pause_begin(&pause);
        cr_assert_not(relay_pause_is_over(&pause));
        cr_assert_geq(pause.due_us, before_us + lengths_ms[i] * US_PER_MS);
        cr_assert_leq(pause.due_us, clock_mono_us() + lengths_ms[i] * US_PER_MS);
    }
}

Test(failures, smaller_requests_need_no_pause_until_they_can_get_no_smaller) {
    struct relay_failures failures;
    relay_failures_init(&failures, "relay_requested");
    failures.last.is_too_large = true;
    int bytes = 1000000, halvings = 0;
    while (relay_failures_learn(&failures)) {
        cr_assert_lt(failures.batch_bytes, bytes);
        bytes = failures.batch_bytes;
        cr_assert_lt(++halvings, 20);
    }
    cr_assert_eq(failures.batch_bytes, 4096);
}

Test(failures, a_time_that_the_broker_refuses_changes_the_clock) {
    struct relay_failures failures;
    relay_failures_init(&failures, "relay_requested");
    failures.last.is_out_of_time = true;
    cr_assert_not(relay_failures_learn(&failures));
    cr_assert(failures.own_clock);
    cr_assert_not(relay_failures_learn(&failures));
    cr_assert_not(failures.own_clock);
}

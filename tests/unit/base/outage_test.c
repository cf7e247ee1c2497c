/* SPDX-License-Identifier: Apache-2.0 */
#include "base/outage.h"

#include <criterion/criterion.h>

#include "base/clock.h"

Test(outage, it_is_told_when_it_begins_and_not_at_each_failure) {
    struct outage outage = {0};
    cr_assert(outage_failed(&outage));
    for (int i = 0; i < 100; i++)
        cr_assert_not(outage_failed(&outage));
}

Test(outage, one_that_lasts_is_told_again_after_ten_seconds) {
    struct outage outage = {0};
    outage_failed(&outage);
    outage.logged_us -= 9 * US_PER_S;
    cr_assert_not(outage_failed(&outage));
    outage.logged_us -= US_PER_S + 1;
    cr_assert(outage_failed(&outage));
    cr_assert_not(outage_failed(&outage));
}

Test(outage, its_end_is_told_once_with_how_long_it_lasted) {
    struct outage outage = {0};
    int64_t us = -1;
    cr_assert_not(outage_over(&outage, &us));
    cr_assert_not(outage_is_on(&outage));
    outage_failed(&outage);
    cr_assert(outage_is_on(&outage));
    outage.since_us -= 3 * US_PER_S;
    cr_assert(outage_over(&outage, &us));
    cr_assert_geq(us, 3 * US_PER_S);
    cr_assert_not(outage_over(&outage, &us));
    cr_assert(outage_failed(&outage), "another one begins");
}

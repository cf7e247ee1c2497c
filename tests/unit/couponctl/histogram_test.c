/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "histogram.h"

static struct histogram histogram;

Test(histogram, an_empty_one_has_no_quantile) {
    cr_expect_eq(histogram_quantile(&histogram, 0.5), 0);
    cr_expect_eq(histogram_quantile(&histogram, 1), 0);
}

Test(histogram, small_values_are_exact) {
    for (int64_t value = 1; value <= 100; value++)
        histogram_add(&histogram, value);
    cr_expect_eq(histogram.count, 100);
    cr_expect_eq(histogram.max, 100);
    cr_expect_eq(histogram_quantile(&histogram, 0), 1);
    cr_expect_eq(histogram_quantile(&histogram, 0.5), 50);
    cr_expect_eq(histogram_quantile(&histogram, 0.99), 99);
    cr_expect_eq(histogram_quantile(&histogram, 0.991), 100, "a rank is rounded up");
    cr_expect_eq(histogram_quantile(&histogram, 1), 100);
}

Test(histogram, each_quantile_is_within_two_percent_and_not_below_the_value) {
    for (int64_t value = 1; value < (int64_t)1 << 59; value += value / 3 + 1) {
        histogram = (struct histogram){0};
        histogram_add(&histogram, value);
        histogram_add(&histogram, INT64_MAX); /* so that the maximum does not hide the bucket's top */
        int64_t quantile = histogram_quantile(&histogram, 0.5);
        cr_expect_geq(quantile, value);
        cr_expect_leq((double)quantile, (double)value * 1.02, "%lld is reported as %lld", (long long)value,
                      (long long)quantile);
    }
}

Test(histogram, the_greatest_value_is_exact) {
    histogram_add(&histogram, 1);
    histogram_add(&histogram, 1234567);
    cr_expect_eq(histogram_quantile(&histogram, 1), 1234567);
}

Test(histogram, values_out_of_range_count_at_its_ends) {
    histogram_add(&histogram, -5);
    cr_expect_eq(histogram.max, 0);
    cr_expect_eq(histogram_quantile(&histogram, 1), 0);
    histogram_add(&histogram, INT64_MAX);
    cr_expect_eq(histogram.count, 2);
    cr_expect_eq(histogram_quantile(&histogram, 1), (int64_t)1 << 60);
}

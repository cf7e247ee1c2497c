/* SPDX-License-Identifier: Apache-2.0 */
/* A histogram in constant memory. Quantiles are exact to 2 percent, the maximum is exact.
 *
 * Each value below 128 has its own bucket. Above, each power of two is split into 64 buckets. Not thread-safe. */
#pragma once

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_BUCKETS  ((64 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS)

struct histogram {
    int64_t count, max;
    int64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, int64_t value); /* a negative value counts as 0 */
/* Returns the quantile for `share` (0 to 1), rounded up to the top of its bucket; 0 if the histogram is empty. */
int64_t histogram_quantile(const struct histogram *histogram, double share);

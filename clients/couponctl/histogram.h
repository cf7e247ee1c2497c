/* SPDX-License-Identifier: Apache-2.0 */
/* Durations by magnitude: constant memory, quantiles within 2 percent, the greatest exactly.
 *
 * Values below 128 have a bucket each; above, each power of two is split into 64. Not for two threads at once. */
#pragma once

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_BUCKETS  ((64 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS)

struct histogram {
    int64_t count, max;
    int64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, int64_t value); /* below 0 counts as 0 */
/* The value that `share` (0 to 1) of all are not above; 0 where there are none. */
int64_t histogram_quantile(const struct histogram *histogram, double share);

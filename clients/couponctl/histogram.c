/* SPDX-License-Identifier: Apache-2.0 */
/* The bucket of a value is given by its leading bits; see histogram.h. */
#include "histogram.h"

#include <stddef.h>

#define SUB       (1 << HISTOGRAM_SUB_BITS)
#define HALF      (SUB / 2)
#define VALUE_MAX ((int64_t)1 << 60)

static size_t bucket_of(int64_t value) {
    if (value < SUB)
        return (size_t)value;
    int shift = 63 - __builtin_clzll((unsigned long long)value) - (HISTOGRAM_SUB_BITS - 1);
    return (size_t)(SUB + (shift - 1) * HALF + (int)(value >> shift) - HALF);
}

/* Returns the greatest value of the bucket. */
static int64_t bucket_top(size_t bucket) {
    if (bucket < SUB)
        return (int64_t)bucket;
    int64_t above = (int64_t)bucket - SUB;
    int64_t shift = above / HALF + 1;
    return ((above % HALF + HALF + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, int64_t value) {
    value = value < 0 ? 0 : value > VALUE_MAX ? VALUE_MAX : value;
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
}

int64_t histogram_quantile(const struct histogram *histogram, double share) {
    if (histogram->count == 0)
        return 0;
    double exact = share * (double)histogram->count;
    int64_t rank = (int64_t)exact + ((double)(int64_t)exact < exact); /* rounded up */
    rank = rank < 1 ? 1 : rank > histogram->count ? histogram->count : rank;
    int64_t seen = 0;
    size_t bucket = 0;
    for (; bucket < HISTOGRAM_BUCKETS; bucket++)
        if ((seen += histogram->buckets[bucket]) >= rank)
            break;
    int64_t top = bucket_top(bucket);
    return top < histogram->max ? top : histogram->max;
}

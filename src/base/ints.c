/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ints.h"

uint64_t hash_int64(int64_t value) {
    /* The finalizer of SplitMix64 (Steele, Lea, Flood 2014). */
    uint64_t x = (uint64_t)value + UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

int compare_int64(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

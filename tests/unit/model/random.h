/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers for tests. The seed makes failures reproducible. */
#pragma once

#include <stdint.h>

struct random {
    uint64_t state;
};

/* Returns a number from 0 to n - 1, by xorshift64* (Vigna 2016). */
static inline int64_t random_below(struct random *random, int64_t n) {
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return (int64_t)((random->state * UINT64_C(2685821657736338717)) >> 33) % n;
}

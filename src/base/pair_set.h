/* SPDX-License-Identifier: Apache-2.0 */
/* A set of pairs of numbers, e.g. (coupon, user), for finding repeats within one batch. Lives in an arena. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct pair_set {
    size_t mask;
    struct pair_set_slot {
        int64_t a, b;
        bool used;
    } * slots;
};

/* Room for `n` pairs. */
void pair_set_init(struct pair_set *pairs, struct arena *arena, size_t n);
/* True if the pair was not there before. */
bool pair_set_add(struct pair_set *pairs, int64_t a, int64_t b);

bool pair_set_has(const struct pair_set *pairs, int64_t a, int64_t b);

/* A number's hash that mixes all bits. */
uint64_t hash_int64(int64_t value);
/* For qsort and bsearch: two int64_t, ascending. */
int compare_int64(const void *a, const void *b);

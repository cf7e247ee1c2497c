/* A set of pairs of numbers, e.g. (coupon, user), for finding repeats within one batch. Lives in an arena. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct pairs {
    size_t mask;
    struct pairs_slot {
        int64_t a, b;
        bool used;
    } * slots;
};

/* Room for `n` pairs. */
void pairs_init(struct pairs *pairs, struct arena *arena, size_t n);
/* True if the pair was not there before. */
bool pairs_add(struct pairs *pairs, int64_t a, int64_t b);

bool pairs_has(const struct pairs *pairs, int64_t a, int64_t b);

/* A number's hash that mixes all bits. */
uint64_t hash_int64(int64_t value);
/* For qsort and bsearch: two int64_t, ascending. */
int compare_int64(const void *a, const void *b);

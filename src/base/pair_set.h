/* SPDX-License-Identifier: Apache-2.0 */
/* A set of pairs of numbers, e.g. (coupon, user), which finds repeats within one batch. It lives in an arena. */
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

/* Makes an empty set with room for `n` pairs. */
void pair_set_init(struct pair_set *set, struct arena *arena, size_t n);
/* Adds a pair. Returns true if the set did not have it. */
bool pair_set_add(struct pair_set *set, int64_t a, int64_t b);

bool pair_set_has(const struct pair_set *set, int64_t a, int64_t b);

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pair_set.h"

#include "base/ints.h"

void pair_set_init(struct pair_set *set, struct arena *arena, size_t n) {
    size_t size = 16;
    while (size < 2 * n)
        size *= 2;
    set->mask = size - 1;
    set->slots = arena_zalloc(arena, size * sizeof *set->slots);
}

/* Returns the pair's slot, or the free slot where it belongs. */
static struct pair_set_slot *find(const struct pair_set *set, int64_t a, int64_t b) {
    size_t at = hash_int64(a ^ (int64_t)hash_int64(b)) & set->mask;
    while (set->slots[at].used && (set->slots[at].a != a || set->slots[at].b != b))
        at = (at + 1) & set->mask;
    return &set->slots[at];
}

bool pair_set_add(struct pair_set *set, int64_t a, int64_t b) {
    struct pair_set_slot *slot = find(set, a, b);
    bool added = !slot->used;
    *slot = (struct pair_set_slot){a, b, true};
    return added;
}

bool pair_set_has(const struct pair_set *set, int64_t a, int64_t b) {
    return find(set, a, b)->used;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pair_set.h"

uint64_t hash_int64(int64_t value) {
    /* The finalizer of SplitMix64 (Steele, Lea, Flood 2014). */
    uint64_t x = (uint64_t)value + UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void pair_set_init(struct pair_set *pairs, struct arena *arena, size_t n) {
    size_t size = 16;
    while (size < 2 * n)
        size *= 2;
    pairs->mask = size - 1;
    pairs->slots = arena_zalloc(arena, size * sizeof *pairs->slots);
}

/* Returns the pair's slot, or the free slot where it belongs. */
static struct pair_set_slot *find(const struct pair_set *pairs, int64_t a, int64_t b) {
    size_t at = hash_int64(a ^ (int64_t)hash_int64(b)) & pairs->mask;
    while (pairs->slots[at].used && (pairs->slots[at].a != a || pairs->slots[at].b != b))
        at = (at + 1) & pairs->mask;
    return &pairs->slots[at];
}

bool pair_set_add(struct pair_set *pairs, int64_t a, int64_t b) {
    struct pair_set_slot *slot = find(pairs, a, b);
    bool added = !slot->used;
    *slot = (struct pair_set_slot){a, b, true};
    return added;
}

bool pair_set_has(const struct pair_set *pairs, int64_t a, int64_t b) {
    return find(pairs, a, b)->used;
}

int compare_int64(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

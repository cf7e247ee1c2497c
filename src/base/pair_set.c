#include "base/pair_set.h"

uint64_t hash_int64(int64_t value) {
    /* The finalizer of SplitMix64 (Steele, Lea, Flood 2014). */
    uint64_t x = (uint64_t)value + UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void pairs_init(struct pairs *pairs, struct arena *arena, size_t n) {
    size_t size = 16;
    while (size < 2 * n)
        size *= 2;
    pairs->mask = size - 1;
    pairs->slots = arena_zalloc(arena, size * sizeof *pairs->slots);
}

/* The pair's slot, or the free one where it belongs. */
static struct pairs_slot *find(const struct pairs *pairs, int64_t a, int64_t b) {
    size_t at = hash_int64(a ^ (int64_t)hash_int64(b)) & pairs->mask;
    while (pairs->slots[at].used && (pairs->slots[at].a != a || pairs->slots[at].b != b))
        at = (at + 1) & pairs->mask;
    return &pairs->slots[at];
}

bool pairs_add(struct pairs *pairs, int64_t a, int64_t b) {
    struct pairs_slot *slot = find(pairs, a, b);
    bool added = !slot->used;
    *slot = (struct pairs_slot){a, b, true};
    return added;
}

bool pairs_has(const struct pairs *pairs, int64_t a, int64_t b) {
    return find(pairs, a, b)->used;
}

int compare_int64(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

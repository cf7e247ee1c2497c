/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of coupons; see coupon_cache.h. A hash table by coupon id, at most half full.
 *
 *   generation   a lane's counter, which invalidates the lane's entries: an entry is valid while its generation is that
 *                of its lane */
#include "store/coupon_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/ints.h"
#include "base/memory.h"
#include "base/murmur2.h"
#include "store/coupon_rows.h"

/* The table is emptied before it reaches this number of entries. Its slots, twice as many, take 11 MiB. */
#define ENTRIES_MAX 65536

struct entry {
    struct coupon row; /* id 0: free */
    int32_t lane;
    uint32_t generation;
};

struct lane {
    uint32_t generation;
    int64_t last_id, epoch; /* the stamp */
};

struct coupon_cache {
    int n_lanes;
    struct lane *lanes;
    struct entry *entries;
    size_t mask, count;
    size_t n_asked, *asked; /* indexes of the current batch's coupons that a sent statement reads; in the arena */
};

struct coupon_cache *coupon_cache_new(int lanes) {
    struct coupon_cache *cache = memory_new(1, sizeof *cache);
    *cache =
        (struct coupon_cache){.n_lanes = lanes, .lanes = memory_new((size_t)lanes, sizeof *cache->lanes), .mask = 255};
    cache->entries = memory_new(cache->mask + 1, sizeof *cache->entries);
    coupon_cache_forget(cache);
    return cache;
}

void coupon_cache_free(struct coupon_cache *cache) {
    if (!cache)
        return;
    free(cache->lanes);
    free(cache->entries);
    free(cache);
}

static struct entry *slot_of(struct entry *entries, size_t mask, int64_t id) {
    size_t at = hash_int64(id) & mask;
    while (entries[at].row.id && entries[at].row.id != id)
        at = (at + 1) & mask;
    return &entries[at];
}

static bool is_valid(const struct coupon_cache *cache, const struct entry *entry) {
    return entry->row.id && entry->generation == cache->lanes[entry->lane].generation;
}

static void make_room(struct coupon_cache *cache) {
    if (2 * (cache->count + 1) <= cache->mask)
        return;
    size_t mask = cache->count + 1 >= ENTRIES_MAX ? 255 : 2 * cache->mask + 1;
    struct entry *entries = memory_new(mask + 1, sizeof *entries);
    cache->count = 0;
    for (size_t i = 0; i <= cache->mask && mask > cache->mask; i++)
        if (is_valid(cache, &cache->entries[i])) {
            *slot_of(entries, mask, cache->entries[i].row.id) = cache->entries[i];
            cache->count++;
        }
    free(cache->entries);
    cache->entries = entries;
    cache->mask = mask;
}

void coupon_cache_forget(struct coupon_cache *cache) {
    for (int i = 0; cache && i < cache->n_lanes; i++) {
        cache->lanes[i].generation++;
        cache->lanes[i].last_id = -1; /* differs from every head's id */
    }
}

static void send_read(struct pg *pg, struct arena *arena, const struct coupon *coupons, const size_t *asked, size_t n) {
    int64_t *ids = ARENA_ARRAY(arena, int64_t, n);
    for (size_t i = 0; i < n; i++)
        ids[i] = coupons[asked[i]].id;
    coupon_rows_send_read(pg, arena, ids, n);
}

static void take_read(const PGresult *result, struct arena *arena, struct coupon *coupons, const size_t *asked,
                      size_t n) {
    struct coupon *rows = ARENA_ARRAY(arena, struct coupon, n);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct coupon){.id = coupons[asked[i]].id};
    coupon_rows_read(result, rows);
    for (size_t i = 0; i < n; i++)
        coupons[asked[i]] = rows[i];
}

int coupon_cache_send_read(struct coupon_cache *cache, struct pg *pg, struct arena *arena, struct coupon *coupons,
                           size_t n) {
    size_t *asked = ARENA_ARRAY(arena, size_t, n), n_asked = 0;
    for (size_t i = 0; i < n; i++) {
        const struct entry *entry = cache ? slot_of(cache->entries, cache->mask, coupons[i].id) : NULL;
        if (entry && is_valid(cache, entry))
            coupons[i] = entry->row;
        else
            asked[n_asked++] = i;
    }
    if (cache) {
        cache->asked = asked;
        cache->n_asked = n_asked;
    }
    if (n_asked > 0 || !cache)
        send_read(pg, arena, coupons, asked, n_asked);
    return n_asked > 0 || !cache;
}

bool coupon_cache_recall(const struct coupon_cache *cache, struct coupon *coupons, size_t n,
                         struct outbox_heads *heads) {
    for (size_t i = 0; i < n; i++) {
        const struct entry *entry = cache ? slot_of(cache->entries, cache->mask, coupons[i].id) : NULL;
        if (!entry || !is_valid(cache, entry))
            return false;
        coupons[i] = entry->row;
    }
    for (size_t i = 0; i < heads->n; i++) {
        heads->last_id[i] = cache->lanes[heads->lane[i]].last_id;
        heads->epoch[i] = cache->lanes[heads->lane[i]].epoch;
    }
    return true;
}

/* Forgets the lanes that another worker or an administrator has changed. Returns true if there are any. */
static bool notice_others(struct coupon_cache *cache, const struct outbox_heads *heads) {
    bool any = false;
    for (size_t i = 0; i < heads->n; i++) {
        struct lane *lane = &cache->lanes[heads->lane[i]];
        if (lane->last_id == heads->last_id[i] && lane->epoch == heads->epoch[i])
            continue;
        lane->generation++;
        lane->last_id = heads->last_id[i];
        lane->epoch = heads->epoch[i];
        any = true;
    }
    return any;
}

bool coupon_cache_read(struct coupon_cache *cache, struct pg *pg, struct arena *arena, const PGresult *result,
                       const struct locked_coupons *locked, struct err *err) {
    struct coupon *coupons = locked->coupons;
    if (!cache) {
        coupon_rows_read(result, coupons);
        return true;
    }
    bool others = notice_others(cache, locked->heads);
    if (cache->n_asked > 0)
        take_read(result, arena, coupons, cache->asked, cache->n_asked);
    if (!others)
        return true;
    size_t *stale = ARENA_ARRAY(arena, size_t, locked->n), n_stale = 0, next_asked = 0;
    for (size_t i = 0; i < locked->n; i++) {
        if (next_asked < cache->n_asked && cache->asked[next_asked] == i)
            next_asked++; /* was just read */
        else if (!is_valid(cache, slot_of(cache->entries, cache->mask, coupons[i].id)))
            stale[n_stale++] = i;
    }
    if (n_stale == 0)
        return true;
    PGresult *again;
    send_read(pg, arena, coupons, stale, n_stale);
    if (!pg_collect(pg, &again, 1, err))
        return false;
    take_read(again, arena, coupons, stale, n_stale);
    pg_clear(&again, 1);
    return true;
}

void coupon_cache_keep(struct coupon_cache *cache, const struct locked_coupons *locked) {
    if (!cache)
        return;
    const struct outbox_heads *heads = locked->heads;
    for (size_t i = 0; i < heads->n; i++) {
        cache->lanes[heads->lane[i]].last_id = heads->last_id[i];
        cache->lanes[heads->lane[i]].epoch = heads->epoch[i];
    }
    for (size_t i = 0; i < locked->n; i++) {
        const struct coupon *coupon = &locked->coupons[i];
        if (!coupon->exists)
            continue;
        make_room(cache);
        struct entry *entry = slot_of(cache->entries, cache->mask, coupon->id);
        cache->count += entry->row.id == 0;
        entry->row = *coupon;
        entry->lane = murmur2_slot_of_id(coupon->id, cache->n_lanes);
        entry->generation = cache->lanes[entry->lane].generation;
    }
}

bool coupon_cache_roll_back(struct coupon_cache *cache, struct pg *pg, const struct locked_coupons *locked) {
    PGresult *result;
    pg_send(pg, &pg_rollback, NULL);
    if (!pg_collect(pg, &result, 1, NULL)) {
        coupon_cache_forget(cache);
        return false;
    }
    pg_clear(&result, 1);
    coupon_cache_keep(cache, locked);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The counts; see campaigns.h.
 *
 * A coupon has a place in one of SETS sets of WAYS. Each thread counts in a stripe of its own, so that threads do not
 * wait for each other's cache lines. `lock` guards the change of a place's coupon; counting and reading take no lock. A
 * thread that counts while its place gets another coupon may count for the other one: these are plots, not books. */
#include "flow/campaigns.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/ints.h"

#define WAYS    4
#define SETS    (CAMPAIGNS_MAX / WAYS)
#define STRIPES 8

struct stripe {
    _Alignas(64) _Atomic int64_t answers[REASONS];
};

struct set {
    _Alignas(64) _Atomic int64_t ids[WAYS]; /* 0: free */
};

/* What campaigns_read remembers of a place. */
struct seen {
    _Atomic int64_t last_us;
    int64_t total, coupon_id;
};

static struct set sets[SETS];
static struct stripe stripes[SETS][WAYS][STRIPES];
static struct seen seen[SETS][WAYS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static unsigned stripe_of_thread(void) {
    static atomic_uint next;
    static _Thread_local unsigned mine;
    if (mine == 0)
        mine = atomic_fetch_add(&next, 1) % STRIPES + 1;
    return mine - 1;
}

static bool proves_coupon(enum reason reason) {
    return reason <= REASON_ALREADY_REQUESTED;
}

static int find(const struct set *set, int64_t coupon_id) {
    for (int way = 0; way < WAYS; way++)
        if (atomic_load_explicit(&set->ids[way], memory_order_relaxed) == coupon_id)
            return way;
    return -1;
}

/* Returns the coupon's place in the set, after giving it one; -1: all are busy. */
static int take_place(size_t at, int64_t coupon_id) {
    pthread_mutex_lock(&lock);
    int way = find(&sets[at], coupon_id);
    int64_t now_us = clock_mono_us();
    for (int i = 0; i < WAYS && way < 0; i++) {
        bool is_free = atomic_load(&sets[at].ids[i]) == 0;
        if (!is_free && now_us - atomic_load(&seen[at][i].last_us) < CAMPAIGNS_IDLE_US)
            continue;
        atomic_store(&sets[at].ids[i], 0);
        for (size_t stripe = 0; stripe < STRIPES; stripe++)
            for (size_t reason = 0; reason < REASONS; reason++)
                atomic_store(&stripes[at][i][stripe].answers[reason], 0);
        atomic_store(&seen[at][i].last_us, now_us);
        atomic_store(&sets[at].ids[i], coupon_id);
        way = i;
    }
    pthread_mutex_unlock(&lock);
    return way;
}

void campaigns_count(int64_t coupon_id, enum reason reason) {
    size_t at = hash_int64(coupon_id) % SETS;
    int way = find(&sets[at], coupon_id);
    if (way < 0 && proves_coupon(reason) && coupon_id > 0)
        way = take_place(at, coupon_id);
    if (way >= 0)
        atomic_fetch_add_explicit(&stripes[at][way][stripe_of_thread()].answers[reason], 1, memory_order_relaxed);
}

static int64_t add_up(size_t at, size_t way, struct campaign_counts *ret) {
    int64_t total = 0;
    memset(ret->answers, 0, sizeof ret->answers);
    for (size_t stripe = 0; stripe < STRIPES; stripe++)
        for (size_t reason = 0; reason < REASONS; reason++)
            ret->answers[reason] +=
                atomic_load_explicit(&stripes[at][way][stripe].answers[reason], memory_order_relaxed);
    for (size_t reason = 0; reason < REASONS; reason++)
        total += ret->answers[reason];
    return total;
}

size_t campaigns_read(struct campaign_counts ret[static CAMPAIGNS_MAX]) {
    int64_t now_us = clock_mono_us();
    size_t n = 0;
    for (size_t at = 0; at < SETS; at++)
        for (size_t way = 0; way < WAYS; way++) {
            struct campaign_counts *counts = &ret[n];
            struct seen *place = &seen[at][way];
            counts->coupon_id = atomic_load(&sets[at].ids[way]);
            if (counts->coupon_id == 0)
                continue;
            int64_t total = add_up(at, way, counts);
            if (total != place->total || counts->coupon_id != place->coupon_id)
                atomic_store(&place->last_us, now_us);
            place->total = total;
            place->coupon_id = counts->coupon_id;
            counts->last_us = atomic_load(&place->last_us);
            n += now_us - counts->last_us < CAMPAIGNS_IDLE_US;
        }
    return n;
}

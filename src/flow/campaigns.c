/* SPDX-License-Identifier: Apache-2.0 */
/* The counts; see campaigns.h.
 *
 * A coupon has one of the WAYS places from that of its hash on. Each thread counts in a stripe of its own, so that
 * threads do not wait for each other's cache lines. `lock` guards the change of a place's coupon; counting and reading
 * take no lock. A thread that counts while its place gets another coupon may count for the other one: these are plots,
 * not books. */
#include "flow/campaigns.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/ints.h"

#define WAYS    16
#define STRIPES 8
/* How long nobody looks again for a place where all were busy. */
#define FULL_US US_PER_S

struct stripe {
    _Alignas(64) _Atomic int64_t answers[REASONS];
};

/* What campaigns_read remembers of a place. */
struct seen {
    _Atomic int64_t last_us;
    int64_t total, coupon_id;
};

static atomic_bool is_on;
static _Alignas(64) _Atomic int64_t ids[CAMPAIGNS_MAX]; /* 0: free */
static _Atomic int64_t full_us[CAMPAIGNS_MAX]; /* by clock_mono_us: since when all places from here on are busy */
static struct stripe stripes[CAMPAIGNS_MAX][STRIPES];
static struct seen seen[CAMPAIGNS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void campaigns_start(void) {
    atomic_store(&is_on, true);
}

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

static int find(size_t first, int64_t coupon_id) {
    for (size_t i = 0; i < WAYS; i++) {
        size_t at = (first + i) % CAMPAIGNS_MAX;
        if (atomic_load_explicit(&ids[at], memory_order_relaxed) == coupon_id)
            return (int)at;
    }
    return -1;
}

static void clear(size_t at) {
    for (size_t stripe = 0; stripe < STRIPES; stripe++)
        for (size_t reason = 0; reason < REASONS; reason++)
            atomic_store_explicit(&stripes[at][stripe].answers[reason], 0, memory_order_relaxed);
}

/* Returns the coupon's place, after giving it one; -1: all are busy. */
static int take_place(size_t first, int64_t coupon_id) {
    int64_t now_us = clock_mono_us();
    if (now_us - atomic_load(&full_us[first]) < FULL_US)
        return -1;
    pthread_mutex_lock(&lock);
    int place = find(first, coupon_id);
    for (size_t i = 0; i < WAYS && place < 0; i++) {
        size_t at = (first + i) % CAMPAIGNS_MAX;
        if (atomic_load(&ids[at]) != 0 && now_us - atomic_load(&seen[at].last_us) < CAMPAIGNS_IDLE_US)
            continue;
        atomic_store(&ids[at], 0);
        clear(at);
        atomic_store(&seen[at].last_us, now_us);
        atomic_store(&ids[at], coupon_id);
        place = (int)at;
    }
    if (place < 0)
        atomic_store(&full_us[first], now_us);
    pthread_mutex_unlock(&lock);
    return place;
}

void campaigns_count(int64_t coupon_id, enum reason reason) {
    if (!atomic_load_explicit(&is_on, memory_order_relaxed))
        return;
    size_t first = hash_int64(coupon_id) % CAMPAIGNS_MAX;
    int place = find(first, coupon_id);
    if (place < 0 && proves_coupon(reason) && coupon_id > 0)
        place = take_place(first, coupon_id);
    if (place >= 0)
        atomic_fetch_add_explicit(&stripes[place][stripe_of_thread()].answers[reason], 1, memory_order_relaxed);
}

static int64_t add_up(size_t at, struct campaign_counts *ret) {
    int64_t total = 0;
    memset(ret->answers, 0, sizeof ret->answers);
    for (size_t stripe = 0; stripe < STRIPES; stripe++)
        for (size_t reason = 0; reason < REASONS; reason++)
            ret->answers[reason] += atomic_load_explicit(&stripes[at][stripe].answers[reason], memory_order_relaxed);
    for (size_t reason = 0; reason < REASONS; reason++)
        total += ret->answers[reason];
    return total;
}

size_t campaigns_read(struct campaign_counts ret[static CAMPAIGNS_MAX]) {
    int64_t now_us = clock_mono_us();
    size_t n = 0;
    for (size_t at = 0; at < CAMPAIGNS_MAX; at++) {
        struct campaign_counts *counts = &ret[n];
        struct seen *place = &seen[at];
        counts->coupon_id = atomic_load(&ids[at]);
        if (counts->coupon_id == 0)
            continue;
        int64_t total = add_up(at, counts);
        if (total != place->total || counts->coupon_id != place->coupon_id)
            atomic_store(&place->last_us, now_us);
        place->total = total;
        place->coupon_id = counts->coupon_id;
        counts->last_us = atomic_load(&place->last_us);
        n += now_us - counts->last_us < CAMPAIGNS_IDLE_US;
    }
    return n;
}

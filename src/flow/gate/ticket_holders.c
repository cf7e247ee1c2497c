/* SPDX-License-Identifier: Apache-2.0 */
/* The sets of ticket holders; see ticket_holders.h.
 *
 * A set is a sorted array of 8 bytes per user, searched by bisection. The lock guards the table of sets, also during
 * a search. The loading thread reads Postgres without the lock; while a set is loading, its `users` is NULL. */
#include "flow/gate/ticket_holders.h"

#include <stdlib.h>
#include <string.h>

#include "base/ints.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/shared_lock.h"
#include "flow/stage.h"
#include "store/lookup.h"

/* The greatest number of sets. When it is reached, all sets are dropped; coupons that are still requested load
 * again. */
#define SETS_MAX   1024
#define QUEUE_SIZE 256
/* Users read by one query, which bounds libpq's memory. */
#define CHUNK 20000

struct set {
    int64_t coupon_id; /* 0: free */
    int64_t version;
    enum { LOADING, READY } state;
    int64_t *users;
    size_t n;
};

/* A set that is queued to load. */
struct job {
    int64_t coupon_id, version;
    size_t n_expected;
};

struct ticket_holders {
    struct stage *stage;
    struct pg *pg;
    struct arena arena;
    struct outage outage;
    size_t max;
    struct metric *loaded;
    struct shared_lock lock; /* guards the fields below */
    struct set sets[2 * SETS_MAX];
    size_t n_sets, n_users;
};

static struct set *slot_of(struct ticket_holders *holders, int64_t coupon_id) {
    size_t mask = 2 * SETS_MAX - 1, at = hash_int64(coupon_id) & mask;
    while (holders->sets[at].coupon_id && holders->sets[at].coupon_id != coupon_id)
        at = (at + 1) & mask;
    return &holders->sets[at];
}

/* Drops all sets; those that are still needed load again. The caller holds the lock. */
static void clear(struct ticket_holders *holders) {
    for (size_t i = 0; i < 2 * SETS_MAX; i++)
        free(holders->sets[i].users);
    memset(holders->sets, 0, sizeof holders->sets);
    holders->n_sets = holders->n_users = 0;
}

static bool contains(const struct set *set, int64_t user_id) {
    size_t low = 0, high = set->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (set->users[middle] < user_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->n && set->users[low] == user_id;
}

static void queue(struct ticket_holders *holders, struct set *set, const struct coupon *coupon) {
    struct job *job = memory_new(1, sizeof *job);
    *job = (struct job){coupon->id, coupon->version, (size_t)coupon->accepted};
    if (!stage_push(holders->stage, job)) {
        free(job); /* the next request tries again */
        return;
    }
    if (!set->coupon_id)
        holders->n_sets++;
    holders->n_users -= set->n;
    free(set->users);
    *set = (struct set){.coupon_id = coupon->id, .version = coupon->version, .state = LOADING};
}

/* Queues the coupon's set to load, unless another thread has done so. */
static void want(struct ticket_holders *holders, const struct coupon *coupon) {
    shared_lock_write(&holders->lock);
    if (holders->n_sets >= SETS_MAX)
        clear(holders);
    struct set *set = slot_of(holders, coupon->id);
    if (!set->coupon_id || set->version < coupon->version)
        queue(holders, set, coupon);
    shared_unlock_write(&holders->lock);
}

bool ticket_holders_exclude(struct ticket_holders *holders, const struct coupon *coupon, enum refusal refusal,
                            int64_t user_id) {
    /* An expired coupon is excluded: an admission may still be about to commit, so its ledger may grow. */
    bool is_final = refusal == REFUSAL_SOLD_OUT || refusal == REFUSAL_PAUSED || refusal == REFUSAL_CLOSED;
    if (!is_final || (size_t)coupon->accepted > holders->max)
        return false;
    shared_lock_read(&holders->lock);
    const struct set *set = slot_of(holders, coupon->id);
    bool is_known = set->coupon_id && set->version >= coupon->version;
    bool excluded = is_known && set->version == coupon->version && set->state == READY && !contains(set, user_id);
    shared_unlock_read(&holders->lock);
    if (!is_known)
        want(holders, coupon);
    return excluded;
}

/* Reads all users in the coupon's ledger, sorted. Returns false if Postgres fails, or if the ledger has grown since
 * the job was queued. */
static bool load(struct ticket_holders *holders, const struct job *job, int64_t **ret_users, size_t *ret_n,
                 struct err *err) {
    size_t n = 0, cap = job->n_expected + CHUNK;
    int64_t *users = memory_new(cap, sizeof *users);
    struct ledger_page page = {.coupon_id = job->coupon_id, .room = CHUNK};
    bool ok = pg_connect(holders->pg, err);
    do {
        page.users = users + n;
        page.n = 0;
        ok = ok && lookup_ledger_users(holders->pg, &holders->arena, &page, err);
        n += page.n;
        arena_reset(&holders->arena);
    } while (ok && page.n == CHUNK && n + CHUNK <= cap);
    if (!ok || page.n == CHUNK) { /* more users than when the job was queued: a newer version will be queued */
        free(users);
        return ok ? err_set(err, ERR_CONFLICT, BACKEND_NONE, "the ledger has grown") : false;
    }
    qsort(users, n, sizeof *users, compare_int64);
    *ret_users = users;
    *ret_n = n;
    return true;
}

static void store(struct ticket_holders *holders, const struct job *job, int64_t *users, size_t n) {
    shared_lock_write(&holders->lock);
    if (holders->n_users + n > holders->max)
        clear(holders);
    struct set *set = slot_of(holders, job->coupon_id);
    if (!set->coupon_id) {
        holders->n_sets++;
        *set = (struct set){.coupon_id = job->coupon_id, .version = job->version, .state = LOADING};
    }
    bool current = set->version == job->version && set->state == LOADING;
    if (current) {
        set->users = users;
        set->n = n;
        set->state = READY;
        if (!users) /* loading failed: the next request queues it again */
            set->version = -1;
        holders->n_users += n;
    }
    metric_set(holders->loaded, (double)holders->n_users);
    shared_unlock_write(&holders->lock);
    if (!current)
        free(users);
}

static void run(void *arg, void **items, size_t n) {
    struct ticket_holders *holders = arg;
    for (size_t i = 0; i < n; i++) {
        struct job *job = items[i];
        int64_t *users = NULL;
        size_t n_users = 0;
        struct err err;
        if (load(holders, job, &users, &n_users, &err))
            stage_resumed(&holders->outage, "winners");
        else
            stage_interrupted(&holders->outage, "winners", &err);
        store(holders, job, users, n_users);
        free(job);
    }
}

bool ticket_holders_start(struct context *context, struct ticket_holders **ret_holders, struct err *err) {
    const struct stage_options options = {.queue_size = QUEUE_SIZE, .batch_max = 1};
    struct ticket_holders *holders = memory_new(1, sizeof *holders);
    holders->max = (size_t)context->config->gate_winners_max;
    holders->pg = pg_new(&context->hot);
    holders->loaded =
        metrics_gauge("couponsd_gate_winners",
                      "Ticket holders that the gate keeps in memory, of coupons that give no more tickets.", "");
    arena_init(&holders->arena, 64 * 1024);
    shared_lock_init(&holders->lock);
    if (!stage_start("winners", &options, run, holders, &holders->stage, err)) {
        ticket_holders_stop(holders);
        return false;
    }
    *ret_holders = holders;
    return true;
}

void ticket_holders_stop(struct ticket_holders *holders) {
    if (!holders)
        return;
    stage_stop(holders->stage);
    clear(holders);
    pg_free(holders->pg);
    arena_deinit(&holders->arena);
    shared_lock_deinit(&holders->lock);
    free(holders);
}

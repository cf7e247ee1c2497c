/* SPDX-License-Identifier: Apache-2.0 */
/* What each caller may still do: a token bucket for the rate, and a count of its calls in flight.
 *
 * The table has a fixed size, so memory is bounded whatever addresses clients come from. A caller's key selects a set
 * of eight slots. A new caller takes over the slot of one that has been idle until its bucket was full again. If all
 * eight are busy, it shares the last slot: the two callers then share one limit. Any thread. */
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "rpc/callers.h"

#define SETS      1024 /* a power of two */
#define SET_SLOTS 8

struct caller {
    uint64_t key; /* 0: the slot is free */
    double tokens;
    int64_t filled_us;
    int64_t in_flight;
};

struct callers {
    struct rpc_caller_limits limits;
    pthread_mutex_t lock; /* guards what follows */
    struct caller slots[SETS][SET_SLOTS];
};

struct callers *callers_new(const struct rpc_caller_limits *limits) {
    if (limits->per_second <= 0 && limits->in_flight <= 0)
        return NULL;
    struct callers *callers = memory_new(1, sizeof *callers);
    callers->limits = *limits;
    pthread_mutex_init(&callers->lock, NULL);
    return callers;
}

void callers_free(struct callers *callers) {
    if (!callers)
        return;
    pthread_mutex_destroy(&callers->lock);
    free(callers);
}

/* A bucket holds the tokens of one second, and at least one token. */
static double capacity_of(const struct rpc_caller_limits *limits) {
    return limits->per_second > 1 ? limits->per_second : 1;
}

static void refill(struct caller *caller, const struct rpc_caller_limits *limits, int64_t now_us) {
    double full = capacity_of(limits);
    double tokens = caller->tokens + (double)(now_us - caller->filled_us) * limits->per_second / US_PER_S;
    caller->tokens = tokens < full ? tokens : full;
    caller->filled_us = now_us;
}

static bool is_forgettable(struct caller *caller, const struct rpc_caller_limits *limits, int64_t now_us) {
    if (caller->key == 0)
        return true;
    refill(caller, limits, now_us);
    return caller->in_flight == 0 && (limits->per_second <= 0 || caller->tokens >= capacity_of(limits));
}

static struct caller *find(struct callers *callers, uint64_t key, int64_t now_us) {
    struct caller *set = callers->slots[key & (SETS - 1)], *room = NULL;
    for (struct caller *each = set; each < set + SET_SLOTS; each++)
        if (each->key == key)
            return each;
    for (struct caller *each = set; each < set + SET_SLOTS && !room; each++)
        if (is_forgettable(each, &callers->limits, now_us))
            room = each;
    if (!room)
        return &set[SET_SLOTS - 1];
    *room = (struct caller){.key = key, .tokens = capacity_of(&callers->limits), .filled_us = now_us};
    return room;
}

struct caller *callers_enter(struct callers *callers, uint64_t key, int64_t now_us) {
    const struct rpc_caller_limits *limits = &callers->limits;
    pthread_mutex_lock(&callers->lock);
    struct caller *caller = find(callers, key ? key : 1, now_us), *entered = NULL;
    refill(caller, limits, now_us);
    if ((limits->per_second <= 0 || caller->tokens >= 1) &&
        (limits->in_flight <= 0 || caller->in_flight < limits->in_flight)) {
        caller->tokens -= limits->per_second > 0 ? 1 : 0;
        caller->in_flight++;
        entered = caller;
    }
    pthread_mutex_unlock(&callers->lock);
    return entered;
}

void callers_leave(struct callers *callers, struct caller *caller) {
    pthread_mutex_lock(&callers->lock);
    caller->in_flight--;
    pthread_mutex_unlock(&callers->lock);
}

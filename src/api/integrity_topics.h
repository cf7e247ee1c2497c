/* SPDX-License-Identifier: Apache-2.0 */
/* The last stations of a verification: the two streams' topics. And what both parts of it share: the list of checks,
 * and sets of tickets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "coupon/v1/integrity_service.pb-c.h"
#include "store/kafka.h"
#include "store/pg.h"

/* --- what was checked --- */

#define CHECKS_MAX 16
struct checks {
    struct arena *arena;
    size_t n;
    Coupon__V1__Check *items[CHECKS_MAX];
};
/* `name` is a literal. */
void checks_tell(struct checks *checks, const char *name, bool holds, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* It could not be told, and why. */
void checks_skip(struct checks *checks, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- tickets --- */

/* Of 1 to `max`, a bit each. */
struct tickets {
    uint64_t *bits;
    int64_t max, n; /* n: how many are in it */
};
void tickets_init(struct tickets *tickets, struct arena *arena, int64_t max);
/* Those that are possible at all. */
void tickets_add(struct tickets *tickets, int64_t first, int64_t last);
/* True if it was there. */
bool tickets_remove(struct tickets *tickets, int64_t ticket);
/* 0: it is empty. */
int64_t tickets_first(const struct tickets *tickets);

/* --- topics --- */

struct topic_check {
    const struct kafka_options *kafka;
    struct kafka_admin *admin;
    struct pg *pg;
    struct arena *arena;
    int64_t coupon_id, since_us; /* nothing of the coupon was sent before */
    bool has_own_topics;
    int timeout_ms;
    /* Asked while topics are read: nobody waits for the answer any more. */
    bool (*is_over)(void *arg);
    void *is_over_arg;
};
/* Looks for each of the tickets, at least once; removes those that are found. False: Postgres failed. */
bool verify_topic(const struct topic_check *check, enum stream stream, struct tickets *tickets, struct checks *checks,
                  struct err *err);

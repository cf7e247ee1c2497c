/* SPDX-License-Identifier: Apache-2.0 */
/* The last part of a verification, which searches the topics of the two streams; and the list of checks and the sets of
 * tickets, which all parts use. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "coupon/v1/integrity_service.pb-c.h"
#include "store/kafka.h"
#include "store/pg.h"

/* --- checks --- */

#define CHECKS_MAX 16
struct checks {
    struct arena *arena;
    size_t n;
    Coupon__V1__Check *items[CHECKS_MAX];
};
/* Adds a check that holds or fails. `name` must be a literal. */
void checks_tell(struct checks *checks, const char *name, bool holds, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds a check that could not be made, with the cause. */
void checks_skip(struct checks *checks, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- tickets --- */

/* A set of tickets from 1 to `max`. */
struct tickets {
    uint64_t *bits; /* one per ticket */
    int64_t max, n; /* n: the number of tickets in the set */
};
/* Makes an empty set. */
void tickets_init(struct tickets *tickets, struct arena *arena, int64_t max);
/* Adds the tickets from first to last that are between 1 and max. */
void tickets_add(struct tickets *tickets, int64_t first, int64_t last);
/* Removes a ticket. Returns true if the set had it. */
bool tickets_remove(struct tickets *tickets, int64_t ticket);

/* --- topics --- */

struct topic_check {
    const struct kafka_options *kafka;
    struct kafka_admin *admin;
    struct pg *pg;
    struct arena *arena;
    int64_t coupon_id, since_us; /* no event of the coupon is older */
    bool has_own_topics;
    int timeout_ms;
    /* Called while topics are read. Returns true if the client no longer waits or the server stops. */
    bool (*is_over)(void *arg);
    void *is_over_arg;
};
/* Searches the stream's topics for events of the tickets, removes the tickets that it finds, and adds a check. Fails if
 * Postgres fails; a failure of Kafka makes a skipped check. */
bool verify_topic(const struct topic_check *check, enum stream stream, struct tickets *tickets, struct checks *checks,
                  struct err *err);

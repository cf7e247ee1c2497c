/* SPDX-License-Identifier: Apache-2.0 */
/* Reads everything that Postgres has about one coupon, to check its consistency. All reads see one snapshot, that of
 * one transaction. They scan all rows of the coupon: not for hot paths. */
#pragma once

#include "model/coupon.h"
#include "store/outbox.h"
#include "store/pg.h"

struct integrity {
    /* From the coupon's rows in coupon, admission and issuance. */
    int64_t quantity, admission_quantity, issuance_quantity;
    int64_t accepted, issued, rejected;
    bool frozen;
    int64_t create_us, now_us;
    /* The ledger. */
    int64_t ledger_rows, first_ticket, last_ticket, users;
    /* The issued ranges. */
    int64_t ranges;
    int64_t ranged;   /* tickets in the ranges */
    int64_t held;     /* of these, tickets that the ledger has */
    int64_t overlaps; /* ranges that begin within an earlier one */
    /* Rejections. */
    int64_t rejections;
    int64_t rejections_wrong; /* of these, tickets that are issued too, or that the ledger does not have */
    /* When the oldest ticket that is neither issued nor rejected was accepted; INT64_MIN: there is none. */
    int64_t oldest_waiting_us;
    int64_t dead_letters, dead_letters_open; /* open: not replayed */
};

/* Begins the transaction and reads the counts. On success the transaction stays open for the functions below, and
 * integrity_end must end it. Fails with ERR_NOT_FOUND if there is no such coupon. */
bool integrity_begin(struct pg *pg, struct arena *arena, int64_t coupon_id, struct integrity *ret, struct err *err);
void integrity_end(struct pg *pg);

struct ticket_range {
    int64_t first, last;
};
/* Reads the issued ranges, ascending, into the arena. */
bool integrity_issued(struct pg *pg, struct arena *arena, int64_t coupon_id, struct ticket_range **ret, size_t *ret_n,
                      struct err *err);
/* A coupon's events in its lane's outbox that Kafka has not acknowledged. */
struct unsent_events {
    /* in */
    enum stream stream;
    int64_t coupon_id;
    void (*on_ticket)(void *arg, int64_t ticket);
    void *arg;
    /* out */
    bool all;          /* on_ticket was called for all of them */
    int64_t oldest_us; /* when the first was appended; INT64_MIN: there is none */
};
/* Calls on_ticket for each such event. Reads at most 5,000 outbox rows of the lane from each segment, i.e. some hundred
 * thousand events. */
bool integrity_unsent(struct pg *pg, struct arena *arena, int lanes, struct unsent_events *unsent, struct err *err);

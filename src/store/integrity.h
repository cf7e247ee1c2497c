/* SPDX-License-Identifier: Apache-2.0 */
/* Reading all that Postgres has of one coupon, to see whether it fits together. One transaction, one snapshot: what is
 * counted was true at the same moment. Scans the coupon's rows; not for hot paths. */
#pragma once

#include "model/coupon.h"
#include "store/outbox.h"
#include "store/pg.h"

struct integrity {
    /* Rows of coupon, admission and issuance. */
    int64_t quantity, admission_quantity, issuance_quantity;
    int64_t accepted, issued, rejected;
    bool frozen;
    int64_t create_us, now_us;
    /* The ledger. */
    int64_t ledger_rows, first_ticket, last_ticket, users;
    /* What is issued: ranges, the tickets in them, those of these that the ledger has, ranges that begin within the one
     * before. */
    int64_t ranges, ranged, held, overlaps;
    /* Rejections, and those of them that were issued or that the ledger does not have. */
    int64_t rejections, rejections_wrong;
    /* The oldest ticket that is neither: when it was accepted; INT64_MIN: there is none. */
    int64_t oldest_waiting_us;
    /* Dead letters, and those not replayed. */
    int64_t dead_letters, dead_letters_open;
};

/* False with ERR_NOT_FOUND: there is no such coupon. On success the transaction is open, for what follows; end it. */
bool integrity_begin(struct pg *pg, struct arena *arena, int64_t coupon_id, struct integrity *ret, struct err *err);
void integrity_end(struct pg *pg);

struct ticket_range {
    int64_t first, last;
};
/* The ranges that are issued, ascending; in the arena. */
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
/* Calls on_ticket for each such event. Looks at no more than some hundred thousand events of the lane. */
bool integrity_unsent(struct pg *pg, struct arena *arena, int lanes, struct unsent_events *unsent, struct err *err);

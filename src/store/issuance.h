/* SPDX-License-Identifier: Apache-2.0 */
/* Issue's queries to Postgres: one transaction per batch of events, in two round trips.
 *
 *   read      begin, the stored offsets (locked), the lanes, then coupons and ledger
 *   look up   whether tickets were decided before, where the coupon's counters do not tell
 *   write     offsets, what is issued, counters, outbox, rejections, dead letters, commit
 *
 * Tickets come in runs, one behind the other, most of the time: a run is read from the ledger, and written as issued,
 * at once. */
#pragma once

#include "model/issue_decide.h"
#include "store/coupon_cache.h"
#include "store/dead_letters.h"
#include "store/kafka.h"
#include "store/outbox.h"
#include "store/pg.h"

struct issuance_batch {
    struct coupon_cache *cache; /* in: the worker's; may be NULL */
    /* in: the distinct places of the batch, ascending; next_offset is filled */
    size_t n_places;
    struct kafka_place *places;
    int64_t *next_offset;
    /* in: distinct coupons, ascending; filled but for the id */
    size_t n_coupons;
    struct coupon *coupons;
    /* in: decoded events */
    size_t n_events;
    struct issuance_event *events;
    /* filled */
    struct outbox_heads heads;
    int segment;
    int64_t now_us;
};

struct issuance_rows {
    size_t n_issued;
    int64_t *issued_coupon_id, *issued_ticket; /* in any order */
    size_t n_rejected;
    int64_t *rejected_coupon_id, *rejected_ticket;
    int32_t *rejected_reason;
    struct dead_letters dead;
};

/* Arrays of n elements, one for each place. */
struct stored_offsets {
    size_t n;
    const struct kafka_place *places; /* in */
    const int64_t *if_none;           /* in: stored where the place has no offset yet */
    int64_t *next_offset;             /* out: as it is stored */
};
/* Reads the stored offsets of places. Must come before the first batch of a place. */
bool issuance_offsets(struct pg *pg, struct arena *arena, const struct stored_offsets *offsets, struct err *err);
/* Starts a topic that was created anew from `low`, unless the stored offset is no longer `stored`. */
bool issuance_restart(struct pg *pg, struct arena *arena, const struct kafka_place *place, int64_t stored, int64_t low,
                      struct err *err);

/* On success the transaction is open: issuance_write or issuance_abandon must follow. */
bool issuance_read(struct pg *pg, struct arena *arena, int lanes, struct issuance_batch *batch, struct err *err);
/* Within the transaction: sets is_decided of these events. On failure the transaction is closed. */
bool issuance_look_up(struct pg *pg, struct arena *arena, const struct issuance_batch *batch,
                      struct issuance_event *const *events, size_t n, struct err *err);
/* Writes batch->next_offset, and issued, rejected and highest of the coupons. Where it fails and the connection is
 * lost, the commit may have happened: the stored offsets tell, and reading again is enough. */
bool issuance_write(struct pg *pg, struct arena *arena, struct issuance_batch *batch, const struct issuance_rows *rows,
                    const struct outbox_batch *outbox, struct err *err);
/* Ends the transaction where there is nothing to write. */
void issuance_abandon(struct pg *pg, const struct issuance_batch *batch);

/* SPDX-License-Identifier: Apache-2.0 */
/* Issue's queries to Postgres: one transaction per batch of events, in two round trips, or three with a look-up.
 *
 *   read      begin, lock and read the stored offsets, lock the lanes, read coupons and ledger
 *   look up   whether tickets were decided before, if the coupon's counters do not show it
 *   write     update offsets; insert issued ranges and rejections (whose guards move the counters), outbox and dead
 *             letters; commit
 *   abandon   roll back, since there is nothing to write
 *
 * Most tickets come in runs, i.e. consecutively. A run takes one range scan of the ledger and one row of `issued`. */
#pragma once

#include "model/issue_decide.h"
#include "store/coupon_cache.h"
#include "store/dead_letters.h"
#include "store/kafka.h"
#include "store/outbox.h"
#include "store/pg.h"

struct issuance_batch {
    struct coupon_cache *cache; /* in: the worker's; may be NULL */
    /* in: the distinct places of the batch, ascending; issuance_read fills next_offset */
    size_t n_places;
    struct kafka_place *places;
    int64_t *next_offset;
    /* in: distinct coupons, ascending, with their ids; issuance_read fills the rest */
    size_t n_coupons;
    struct coupon *coupons;
    /* in: the events' claims; coupon_id 0 if an event can't be decoded. issuance_read fills the ledger's facts */
    size_t n_events;
    struct issuance_event *events;
    /* filled by issuance_read */
    struct outbox_heads heads;
    int segment;
    int64_t now_us;
};

/* Rows to write: arrays of n_issued and n_rejected elements, and dead letters. */
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
    const int64_t *if_none;           /* in: stored if the place has no offset yet; NULL: stores nothing */
    int64_t *next_offset;             /* out: the stored offset; -1: none */
};
/* Reads the stored offsets of places, and stores `if_none` for new places. Call it with `if_none` before the first
 * batch of a place. */
bool issuance_offsets(struct pg *pg, struct arena *arena, const struct stored_offsets *offsets, struct err *err);
/* Sets the stored offset from `stored` to `next`: the topic was deleted and created again, or holds no message in
 * between. Does nothing if another process has changed the stored offset. */
bool issuance_move_offset(struct pg *pg, struct arena *arena, const struct kafka_place *place, int64_t stored,
                          int64_t next, struct err *err);

/* Fills the batch. On success the transaction stays open, and issuance_write or issuance_abandon must follow. On
 * failure it is closed. */
bool issuance_read(struct pg *pg, struct arena *arena, int lanes, struct issuance_batch *batch, struct err *err);
/* Sets is_decided of these events, within the transaction. On failure the transaction is closed. */
bool issuance_look_up(struct pg *pg, struct arena *arena, const struct issuance_batch *batch,
                      struct issuance_event *const *events, size_t n, struct err *err);
/* Writes batch->next_offset, the rows, the outbox, and the coupons' issued, rejected and highest, and commits. If it
 * fails because the connection is lost, Postgres may have committed; the stored offsets show whether it did. */
bool issuance_write(struct pg *pg, struct arena *arena, struct issuance_batch *batch, const struct issuance_rows *rows,
                    const struct outbox_batch *outbox, struct err *err);
/* Ends a transaction that has nothing to write. */
void issuance_abandon(struct pg *pg, const struct issuance_batch *batch);

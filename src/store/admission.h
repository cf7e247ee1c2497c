/* SPDX-License-Identifier: Apache-2.0 */
/* Admit's queries to Postgres: one transaction per batch, in two round trips, or three with a look-up.
 *
 *   recall    takes coupons, heads and clock from the worker's memory instead of Postgres. write_recalled then does
 *             everything in one statement, which changes nothing if the memory is stale
 *   read      begin, lock the lanes, read the coupons and, on demand, which of the users are in the ledger
 *   look up   which of some users are in the ledger, if the ledger was not read
 *   write     insert into ledger and outbox, update the counters, commit
 *   abandon   roll back, since there is nothing to write
 *
 * Usually no user of a batch is in the ledger. Admit therefore skips reading it and inserts optimistically. If a user
 * is in the ledger already, its unique key makes the write fail, and admit repeats the batch with a read. */
#pragma once

#include "model/coupon.h"
#include "store/coupon_cache.h"
#include "store/outbox.h"
#include "store/pg.h"

/* What a worker remembers besides its coupons. admission_read and admission_write_recalled fill it.
 *
 * The remembered clock is Postgres' clock, continued by the monotonic clock. It is not behind Postgres' clock, apart
 * from a drift within a round trip. If it is ahead, admission_write_recalled writes nothing. So times never go back
 * from one ticket to the next, and no request is accepted before it was sent. */
struct admission_memory {
    bool is_known;
    int segment;
    int64_t ahead_us;   /* what to add to the monotonic clock */
    int64_t learned_us; /* when this was learned; monotonic */
    int64_t last_us;    /* the time of the last batch */
};

struct admission_batch {
    struct coupon_cache *cache;      /* in: the worker's; may be NULL */
    struct admission_memory *memory; /* in: the worker's; may be NULL */
    /* in: distinct coupons, with their ids; admission_read fills the rest */
    size_t n_coupons;
    struct coupon *coupons;
    /* in: the requests */
    size_t n_asks;
    const int64_t *coupon_id, *user_id;
    bool *in_ledger; /* filled by admission_read; all false if the ledger was not read */
    /* filled by admission_read */
    struct outbox_heads heads;
    int segment;
    int64_t now_us;
};

/* Ledger rows to write: arrays of n elements. */
struct admission_rows {
    size_t n;
    int64_t *coupon_id, *user_id, *ticket;
    const char **request_id;
};

/* Fills the batch. On success the transaction stays open, and admission_write or admission_abandon must follow. On
 * failure it is closed. */
bool admission_read(struct pg *pg, struct arena *arena, int lanes, struct admission_batch *batch, bool with_ledger,
                    struct err *err);
/* Fills in_ledger for the requests whose indexes are in `asks`, within the transaction. On failure the transaction is
 * closed. */
bool admission_look_up(struct pg *pg, struct arena *arena, struct admission_batch *batch, const size_t *asks, size_t n,
                       struct err *err);

/* Fills the batch from the worker's memory, with nothing in the ledger. Returns false if the memory does not suffice: a
 * coupon is unknown, or opens or expires at this moment, or the batch touches several lanes. */
bool admission_recall(struct arena *arena, int lanes, struct admission_batch *batch);
enum admission_outcome {
    ADMISSION_FAILED,
    ADMISSION_STALE, /* the memory is not current; nothing was written */
    ADMISSION_WRITTEN,
};
/* Does what admission_write does for a batch that was recalled, in a transaction of its own, provided that the memory
 * is current: the lane's head and the segment in Postgres are those remembered, and the clocks agree. The head's row is
 * the lock: everybody who appends to the lane, or changes one of its coupons, locks that row. */
enum admission_outcome admission_write_recalled(struct pg *pg, struct arena *arena, const struct admission_batch *batch,
                                                const struct admission_rows *rows, const struct outbox_batch *outbox,
                                                struct err *err);

/* Writes the rows, the coupons' new `accepted` and the outbox, and commits. If it fails because the connection is lost,
 * Postgres may have committed; reading again under the lanes' locks shows whether it did. */
bool admission_write(struct pg *pg, struct arena *arena, const struct admission_batch *batch,
                     const struct admission_rows *rows, const struct outbox_batch *outbox, struct err *err);
/* True if admission_write failed because a user of the batch is in the ledger already. Nothing has changed then. */
bool admission_found_in_ledger(const struct err *err);
/* Ends a transaction that has nothing to write. */
void admission_abandon(struct pg *pg, const struct admission_batch *batch);

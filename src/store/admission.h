/* SPDX-License-Identifier: Apache-2.0 */
/* What admit asks of Postgres: one transaction per batch, in two round trips.
 *
 *   read       begin, lock the lanes, then what the decision needs: the coupons and, on demand, who is in the ledger
 *   look up    who is in the ledger, of some                              (where it matters and was not read)
 *   write      ledger, counters, outbox, commit                           (or nothing to write: roll back)
 *
 * That nobody of a batch is in the ledger yet is what is to be expected, and its primary key finds out anyway. So the
 * ledger need not be read: the write then fails where somebody is, and is done again with reading. */
#pragma once

#include "model/coupon.h"
#include "store/coupon_cache.h"
#include "store/outbox.h"
#include "store/pg.h"

struct admission_batch {
    struct coupon_cache *cache; /* in: the worker's; may be NULL */
    /* in: distinct coupons; filled by admission_read but for the id */
    size_t n_coupons;
    struct coupon *coupons;
    /* in: what is asked */
    size_t n_asks;
    const int64_t *coupon_id, *user_id;
    bool *in_ledger; /* filled by admission_read; false where the ledger was not read */
    /* filled by admission_read */
    struct outbox_heads heads;
    int segment;
    int64_t now_us;
};

/* Rows to write; arrays of n. */
struct admission_rows {
    size_t n;
    int64_t *coupon_id, *user_id, *ticket;
    const char **request_id;
};

/* On success the transaction is open: admission_write or admission_abandon must follow. On failure it is not. */
bool admission_read(struct pg *pg, struct arena *arena, int lanes, struct admission_batch *batch, bool with_ledger,
                    struct err *err);
/* Within the transaction: fills in_ledger of these asks. On failure the transaction is closed. */
bool admission_look_up(struct pg *pg, struct arena *arena, struct admission_batch *batch, const size_t *asks, size_t n,
                       struct err *err);

/* Writes the rows, the coupons' new `accepted`, the outbox, and commits. Where it fails and the connection is lost, the
 * commit may have happened: reading again under the lock tells. admission_was_known: it failed, and has changed
 * nothing, because somebody is in the ledger already. */
bool admission_write(struct pg *pg, struct arena *arena, const struct admission_batch *batch,
                     const struct admission_rows *rows, const struct outbox_batch *outbox, struct err *err);
bool admission_was_known(const struct err *err);
/* There is nothing to write. */
void admission_abandon(struct pg *pg, const struct admission_batch *batch);

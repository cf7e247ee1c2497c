/* What admit asks of Postgres: one transaction per batch, in two round trips.
 *
 *   read    begin, lock the lanes, then what the decision needs: coupons and who is in the ledger already
 *   write   ledger, counters, outbox, commit                              (or nothing to write: roll back) */
#pragma once

#include "store/outbox.h"
#include "store/pg.h"
#include "store/rows.h"

struct admission_batch {
    /* in: distinct coupons; filled by admission_read but for the id */
    size_t n_coupons;
    struct coupon_row *coupons;
    /* in: what is asked; in_ledger is filled by admission_read */
    size_t n_asks;
    const int64_t *coupon_id, *user_id;
    bool *in_ledger;
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
bool admission_read(struct pg *pg, struct arena *arena, int lanes, struct admission_batch *batch, struct err *err);

/* Writes the rows, the coupons' new `accepted`, the outbox rows and heads, and commits. Where it fails and the
 * connection is lost, the commit may have happened: reading again under the lock tells. */
bool admission_write(struct pg *pg, struct arena *arena, const struct admission_batch *batch,
                     const struct admission_rows *rows, const struct outbox_rows *outbox, struct err *err);
void admission_abandon(struct pg *pg);

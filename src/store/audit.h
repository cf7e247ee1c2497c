/* What the reconciler asks of Postgres: is the database as it should be? Scans a coupon's rows; not for hot paths. */
#pragma once

#include "store/pg.h"
#include "model/coupon.h"

struct audit {
    int64_t ledger_rows, max_ticket, held;
};
/* Counts of one coupon: ledger rows, the highest ticket in it, coupons held. */
bool audit_coupon(struct pg *pg, struct arena *arena, int64_t coupon_id, struct audit *ret, struct err *err);

/* Up to `max` tickets of the coupon, lowest first, that were accepted at least `age_ms` ago and have become nothing. */
bool audit_unissued(struct pg *pg, struct arena *arena, int64_t coupon_id, int64_t age_ms, int max,
                    struct request_status *ret_rows, size_t *ret_n, struct err *err);

/* True if this connection holds the reconciler's lock (takes it if it is free): one process sweeps. */
bool audit_take_lock(struct pg *pg, bool *ret_own, struct err *err);

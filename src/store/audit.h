/* SPDX-License-Identifier: Apache-2.0 */
/* The reconciler's queries: is the database as it should be? They scan a coupon's rows; not for hot paths. */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"

struct audit {
    int64_t ledger_rows, max_ticket, held;
};
/* Counts of one coupon: ledger rows, the highest ticket in it, coupons held. */
bool audit_coupon(struct pg *pg, struct arena *arena, int64_t coupon_id, struct audit *ret, struct err *err);

/* Tickets of a coupon that were accepted some time ago, and are neither issued nor rejected. */
struct unissued_tickets {
    int64_t coupon_id, age_ms;   /* in: accepted at least age_ms ago */
    size_t room;                 /* in: of how many elements `rows` is */
    struct request_status *rows; /* its elements are filled, the lowest ticket first; strings are in the arena */
    size_t n;                    /* out: how many are */
};
bool audit_unissued(struct pg *pg, struct arena *arena, struct unissued_tickets *unissued, struct err *err);

/* Takes the reconciler's lock if it is free, so that one process sweeps. *ret_own: this connection holds it. */
bool audit_take_lock(struct pg *pg, bool *ret_own, struct err *err);

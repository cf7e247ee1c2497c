/* SPDX-License-Identifier: Apache-2.0 */
/* The reconciler's queries, which check the database's invariants. They scan all rows of a coupon: not for hot
 * paths. */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"

/* Counts of one coupon, all as of one moment. */
struct audit {
    int64_t ledger_rows;
    int64_t max_ticket; /* the highest ticket in the ledger; 0: none */
    int64_t held;       /* tickets in the issued ranges */
    int64_t quantity;   /* 0: the coupon has no row in issuance */
};
bool audit_coupon(struct pg *pg, struct arena *arena, int64_t coupon_id, struct audit *ret, struct err *err);

/* Reads the oldest snapshot that somebody holds in this database, by the id of the oldest transaction that it may see
 * as running; 0: none holds back more than a thousand transactions. */
bool audit_oldest_snapshot(struct pg *pg, int64_t *ret_xmin, struct err *err);

/* A coupon's tickets that are neither issued nor rejected. */
struct unissued_tickets {
    int64_t coupon_id;               /* in */
    int64_t after, to;               /* in: only tickets above `after`, up to `to` */
    size_t room;                     /* in: the number of elements of `statuses` */
    struct request_status *statuses; /* filled, the lowest ticket first; strings live in the arena */
    size_t n;                        /* out: the number of statuses filled */
};
bool audit_unissued(struct pg *pg, struct arena *arena, struct unissued_tickets *unissued, struct err *err);

/* Takes the reconciler's lock if it is free. *ret_own: whether this connection holds the lock, which only one process
 * can. */
bool audit_take_lock(struct pg *pg, bool *ret_own, struct err *err);

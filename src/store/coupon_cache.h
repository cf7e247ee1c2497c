/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's memory of coupons between its batches: it need not read each of them each time.
 *
 *   stamp   of a lane, in a stream: its head's last id and epoch, as the worker left them with its last commit. Any
 *           other worker that admits or issues a coupon of the lane moves the last id, or the epoch where it appends
 *           nothing; any other change of a coupon raises the epoch. So an unchanged stamp, read under the lane's lock,
 *           proves that all rows remembered of the lane are as they were
 *
 * A worker relies only on columns that the lane's lock of its stream guards: admit on what is accepted, issue on what
 * is issued and rejected. One thread. */
#pragma once

#include "model/coupon.h"
#include "store/outbox.h"

struct coupon_cache;

struct coupon_cache *coupon_cache_new(int lanes);
void coupon_cache_free(struct coupon_cache *cache); /* NULL is fine */

/* Sends a statement that reads the coupons that are not remembered; goes after outbox_send_lock. `cache` NULL: reads
 * all. Returns how many statements were sent: 0 or 1. */
int coupon_cache_send_read(struct coupon_cache *cache, struct pg *pg, struct arena *arena, struct coupon *coupons,
                           size_t n);

/* A batch's coupons, and the heads of their lanes, whose locks the transaction holds. */
struct locked_coupons {
    const struct outbox_heads *heads;
    struct coupon *rows;
    size_t n;
};
/* Fills all rows, once the heads were read. `result`: of the statement, if one was sent. Makes another round trip where
 * someone else has touched a lane. `cache` NULL is fine here and below. */
bool coupon_cache_read(struct coupon_cache *cache, struct pg *pg, struct arena *arena, const PGresult *result,
                       const struct locked_coupons *coupons, struct err *err);
/* After the commit: remembers the rows and the heads as they are now. */
void coupon_cache_keep(struct coupon_cache *cache, const struct locked_coupons *coupons);
/* Ends a transaction that has written nothing, and remembers what it read. False: the rollback failed, and everything
 * is forgotten. */
bool coupon_cache_roll_back(struct coupon_cache *cache, struct pg *pg, const struct locked_coupons *coupons);
/* Forgets everything, since a transaction has failed, or may have. */
void coupon_cache_forget(struct coupon_cache *cache);

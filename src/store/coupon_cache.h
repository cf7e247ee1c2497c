/* What a worker remembers of coupons between its batches, so that it need not read each of them each time.
 *
 *   stamp   of a lane, in a stream: its head's last id and epoch, as the worker left them with its last commit. Whoever
 *           else admits or issues a coupon of the lane moves the last id (or the epoch, where he appends nothing), and
 *           whoever changes one raises the epoch: under the lane's lock, an unchanged stamp proves that all rows
 *           remembered of the lane are as they were
 *
 * Of what is remembered only that counts which the lane's lock of the stream guards: for admit what is accepted, for
 * issue what is issued and rejected. One thread. */
#pragma once

#include "store/outbox.h"
#include "model/coupon.h"

struct coupon_cache;

struct coupon_cache *coupon_cache_new(int lanes);
void coupon_cache_free(struct coupon_cache *cache); /* NULL is fine */

/* Sends what reads those that are not remembered, after outbox_send_lock. `cache` NULL: all. Returns how many
 * statements it has sent. */
int coupon_cache_send_read(struct coupon_cache *cache, struct pg *pg, struct arena *arena, struct coupon *coupons,
                           size_t n);
/* Takes the result (of the one statement, if any was sent) and the heads as read under the lock: fills all of
 * `coupons`. Another round trip where a lane was touched by somebody else. */
bool coupon_cache_read(struct coupon_cache *cache, struct pg *pg, struct arena *arena, const PGresult *result,
                       const struct outbox_heads *heads, struct coupon *coupons, size_t n, struct err *err);
/* After the commit: the coupons and the heads as they are now. */
void coupon_cache_keep(struct coupon_cache *cache, const struct outbox_heads *heads, const struct coupon *coupons,
                       size_t n);
/* Ends a transaction in which nothing was written: what was read stays. False: that failed, and nothing is known. */
bool coupon_cache_roll_back(struct coupon_cache *cache, struct pg *pg, const struct outbox_heads *heads,
                            const struct coupon *coupons, size_t n);
/* A transaction has failed, or may have: nothing is known. */
void coupon_cache_forget(struct coupon_cache *cache);

/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's cache of coupons between its batches, which saves it from reading each coupon in each batch.
 *
 *   stamp   the last id and the epoch of a lane's head, as the worker's last commit left them
 *
 * A worker that admits or issues a coupon raises the lane's last id, or the epoch if it appends nothing. Every other
 * change of a coupon raises the epoch too. So if the stamp, read under the lane's lock, is unchanged, all cached rows
 * of the lane are current.
 *
 * A worker relies only on the columns that the lane's lock of its stream guards: admit on `accepted`, issue on `issued`
 * and `rejected`. One thread. */
#pragma once

#include "model/coupon.h"
#include "store/outbox.h"

struct coupon_cache;

struct coupon_cache *coupon_cache_new(int lanes);
void coupon_cache_free(struct coupon_cache *cache); /* NULL is fine */

/* Sends a statement that reads the coupons that are not cached. Call it after outbox_send_lock. If `cache` is NULL, the
 * statement reads all coupons. Returns the number of statements sent: 0 or 1. */
int coupon_cache_send_read(struct coupon_cache *cache, struct pg *pg, struct arena *arena, struct coupon *coupons,
                           size_t n);

/* Fills the coupons and their lanes' heads as this worker's last commit left them, without a question to Postgres.
 * Returns false if it does not know all of them. Only a comparison with the heads in Postgres proves them. */
bool coupon_cache_recall(const struct coupon_cache *cache, struct coupon *coupons, size_t n,
                         struct outbox_heads *heads);

/* A batch's coupons, and the heads of their lanes, whose locks the transaction holds. */
struct locked_coupons {
    const struct outbox_heads *heads;
    struct coupon *coupons;
    size_t n;
};
/* Fills all coupons. Call it after the heads were read. `result` is that of the statement, if one was sent. Makes
 * another round trip if a stamp has changed. `cache` may be NULL here and below. */
bool coupon_cache_read(struct coupon_cache *cache, struct pg *pg, struct arena *arena, const PGresult *result,
                       const struct locked_coupons *locked, struct err *err);
/* Caches the coupons and the stamps. Call it after the commit. */
void coupon_cache_keep(struct coupon_cache *cache, const struct locked_coupons *locked);
/* Rolls back a transaction that has written nothing, and caches the coupons that it read. Returns false if the rollback
 * failed; the cache is then empty. */
bool coupon_cache_roll_back(struct coupon_cache *cache, struct pg *pg, const struct locked_coupons *locked);
/* Empties the cache. Call it if a transaction has failed, or may have failed. */
void coupon_cache_forget(struct coupon_cache *cache);

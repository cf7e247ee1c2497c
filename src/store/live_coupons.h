/* SPDX-License-Identifier: Apache-2.0 */
/* The list of live coupons: those that may still give or issue tickets. A trigger adds a coupon whenever its row is
 * made or changed; the reconciler removes coupons that have ended. For the reconciler's connection. */
#pragma once

#include "store/pg.h"

/* Coupon ids, ascending. The arrays have `room` elements. */
struct coupon_ids {
    int64_t after; /* in: only higher ids are read */
    size_t room;   /* in */
    int64_t *id;
    int64_t *changes; /* live_coupons_list only: counts the changes of the coupon's row */
    size_t n;         /* out */
};
/* Reads ids of live coupons. */
bool live_coupons_list(struct pg *pg, struct arena *arena, struct coupon_ids *ids, struct err *err);
/* Reads ids of coupons, whether live or not. */
bool live_coupons_list_all(struct pg *pg, struct arena *arena, struct coupon_ids *ids, struct err *err);

/* Adds coupons to the list, unless they are in it. */
bool live_coupons_add(struct pg *pg, struct arena *arena, const int64_t *ids, size_t n, struct err *err);
/* Removes the coupons whose `changes` are still those that live_coupons_list has read. Read the coupons' rows in
 * between: then a change that came after those rows keeps the coupon in the list. A coupon that is being changed stays,
 * too. */
bool live_coupons_remove(struct pg *pg, struct arena *arena, const struct coupon_ids *ended, struct err *err);

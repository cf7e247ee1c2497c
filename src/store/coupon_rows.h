/* SPDX-License-Identifier: Apache-2.0 */
/* Reads coupons with their counters, as the steps decide by them. Takes no locks. Any hot connection. */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"

/* Sends one statement, which reads the coupons with these ids. */
void coupon_rows_send_read(struct pg *pg, struct arena *arena, const int64_t *ids, size_t n);
/* Fills the coupons from its result. `coupons` are in the order of the ids, with their ids set; those that do not exist
 * are left as they are. */
void coupon_rows_read(const PGresult *result, struct coupon *coupons);

/* Reads one coupon from a row whose columns 1 to 10 are status, frozen, open_time, expire_time, version, quantity,
 * accepted, issued, rejected and highest. */
struct coupon coupon_row_read(const PGresult *result, int row, int64_t id);

/* Fills n coupons, whose ids are set, and reads the server's clock, in one round trip. */
bool coupon_rows_load(struct pg *pg, struct arena *arena, struct coupon *coupons, size_t n, int64_t *ret_now_us,
                      struct err *err);

/* Finds out which of n coupons exist. */
bool coupon_rows_exist(struct pg *pg, struct arena *arena, const int64_t *ids, size_t n, bool *ret_exist,
                       struct err *err);

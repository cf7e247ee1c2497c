/* Reading: coupons as they stand, where requests stand, what a user holds. No locks, any hot connection. */
#pragma once

#include "store/pg.h"
#include "model/coupon.h"

/* One statement within a round trip: the coupons with these ids … */
void coupons_send_read(struct pg *pg, struct arena *arena, const int64_t *ids, size_t n);
/* … read into coupons[0..n), all but the id. */
void coupons_read(const PGresult *result, struct coupon *coupons);

/* One coupon's row of a result whose columns are, from 1 on, status, frozen, open_time, expire_time, version, quantity,
 * accepted, issued, rejected. */
struct coupon coupon_row_read(const PGresult *result, int row, int64_t id);

/* The same as a round trip of its own, with the server's clock. `coupons[i].id` is given. */
bool lookup_coupons(struct pg *pg, struct arena *arena, struct coupon *coupons, size_t n, int64_t *ret_now_us,
                    struct err *err);

/* Where the requests of rows[i].(coupon_id, user_id) stand: fills the rest. Strings live in the arena. */
bool lookup_statuses(struct pg *pg, struct arena *arena, struct request_status *rows, size_t n, struct err *err);

/* Where the ticket stands: fills *ret but for coupon and ticket, which are given; found is false where the ledger has
 * no such ticket. Strings live in the arena. */
bool lookup_ticket(struct pg *pg, struct arena *arena, struct request_status *row, struct err *err);

/* Up to `max` users in the coupon's ledger with tickets above *after, by ticket; moves *after behind them. */
bool lookup_ledger_users(struct pg *pg, struct arena *arena, int64_t coupon_id, int64_t *after, int max,
                         int64_t *ret_users, size_t *ret_n, struct err *err);

/* Up to `max` coupons of the user with an id above `after`, by coupon id: fills rows (coupon_id, user_id, ticket,
 * issue_us). */
bool lookup_user_coupons(struct pg *pg, struct arena *arena, int64_t user_id, int64_t after, int max,
                         struct request_status *ret_rows, size_t *ret_n, struct err *err);

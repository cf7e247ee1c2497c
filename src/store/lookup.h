/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: coupons as they stand, where requests stand, what a user holds. No locks, any hot connection. */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"

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

struct ledger_page {
    int64_t coupon_id; /* in */
    int64_t after;     /* in: higher tickets; out: the highest ticket that was read, where there is one */
    size_t room;       /* in: of how many elements `users` is */
    int64_t *users;    /* its elements are filled, by ticket */
    size_t n;          /* out: how many are */
};
/* The users in a coupon's ledger. */
bool lookup_ledger_users(struct pg *pg, struct arena *arena, struct ledger_page *page, struct err *err);

struct user_coupon_page {
    int64_t user_id, after;      /* in: the user's coupons with an id above `after` */
    size_t room;                 /* in: of how many elements `rows` is */
    struct request_status *rows; /* its elements are filled, by coupon: coupon_id, user_id, found, ticket, issue_us */
    size_t n;                    /* out: how many are */
};
/* The coupons that a user holds. */
bool lookup_user_coupons(struct pg *pg, struct arena *arena, struct user_coupon_page *page, struct err *err);

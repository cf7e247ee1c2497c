/* SPDX-License-Identifier: Apache-2.0 */
/* Administration: creating and changing coupons. One call, one transaction, several round trips; rare.
 *
 * A change of a coupon takes its admit lane's lock, so that no ticket is given by the old rules once the change has
 * been answered, and raises the coupon's version. */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"

struct coupon_detail {
    struct coupon row;
    const char *name; /* in the arena */
    double discount_rate;
    int64_t create_us;
};

/* How a call ended; where it is not COUPON_OK, err's text says it for people. */
enum coupon_outcome {
    COUPON_OK,
    COUPON_MISSING,
    COUPON_EXISTS,         /* create: the id is taken */
    COUPON_REQUEST_REUSED, /* the request_id was used for something else */
    COUPON_IS_CLOSED,
    COUPON_IS_EXPIRED,
    COUPON_FAILED, /* *err is set: Postgres */
};

/* `detail`: in: id (0: pick one), status, quantity, open_us, expire_us, name, discount_rate; out: the coupon as it is.
 * `request_id` may be "". */
enum coupon_outcome coupon_create(struct pg *pg, struct arena *arena, int lanes, const char *request_id,
                                  struct coupon_detail *detail, struct err *err);
/* Sets the status of the coupon detail->row.id; *detail becomes the coupon as it is. The same status again is fine; a
 * closed coupon stays closed. */
enum coupon_outcome coupon_set_status(struct pg *pg, struct arena *arena, int lanes, enum coupon_status status,
                                      struct coupon_detail *detail, struct err *err);

struct coupon_addition {
    int64_t coupon_id, quantity;
    const char *request_id; /* may be "" */
};
enum coupon_outcome coupon_add_quantity(struct pg *pg, struct arena *arena, int lanes,
                                        const struct coupon_addition *addition, struct coupon_detail *ret,
                                        struct err *err);
/* Stops admission and issuing, since more was issued than there is. */
enum coupon_outcome coupon_freeze(struct pg *pg, struct arena *arena, int lanes, int64_t id, struct err *err);
enum coupon_outcome coupon_get(struct pg *pg, struct arena *arena, int64_t id, struct coupon_detail *ret,
                               struct err *err);

struct coupon_page {
    int64_t after;                 /* in: coupons with a higher id */
    size_t room;                   /* in: of how many elements `coupons` is */
    struct coupon_detail *coupons; /* its elements are filled, by id */
    size_t n;                      /* out: how many are */
};
bool coupon_list(struct pg *pg, struct arena *arena, struct coupon_page *page, struct err *err);
/* The database's clock. */
bool coupon_now(struct pg *pg, int64_t *ret_now_us, struct err *err);

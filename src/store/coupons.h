/* SPDX-License-Identifier: Apache-2.0 */
/* Administration: creating, reading and changing coupons. Each change is one transaction of several round trips.
 *
 * A change takes the lock of the coupon's admit lane and raises the coupon's version. Once the change is answered, no
 * ticket is given by the old rules. */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"

struct coupon_detail {
    struct coupon row;
    const char *name; /* in the arena */
    double discount_rate;
    int64_t create_us;
};

/* How a call ended. *err is set with COUPON_FAILED only. */
enum coupon_outcome {
    COUPON_OK,
    COUPON_MISSING,
    COUPON_EXISTS,         /* create: the id is taken */
    COUPON_REQUEST_REUSED, /* the request_id was used for another request */
    COUPON_IS_CLOSED,
    COUPON_IS_EXPIRED,
    COUPON_FAILED, /* Postgres failed or refused */
};

/* Creates a coupon. `detail` holds its id (0: pick a free one), status, quantity, open_us, expire_us, name and
 * discount_rate, and becomes the coupon as it is stored. `request_id` may be "". */
enum coupon_outcome coupon_create(struct pg *pg, struct arena *arena, int lanes, const char *request_id,
                                  struct coupon_detail *detail, struct err *err);
/* Sets the status of the coupon detail->row.id; *detail becomes the coupon as it is stored. Setting the same status
 * again is COUPON_OK; a closed coupon stays closed. */
enum coupon_outcome coupon_set_status(struct pg *pg, struct arena *arena, int lanes, enum coupon_status status,
                                      struct coupon_detail *detail, struct err *err);

struct coupon_addition {
    int64_t coupon_id, quantity;
    const char *request_id; /* may be "" */
};
enum coupon_outcome coupon_add_quantity(struct pg *pg, struct arena *arena, int lanes,
                                        const struct coupon_addition *addition, struct coupon_detail *ret,
                                        struct err *err);
/* Stops the coupon's admission and issuing. The reconciler calls it when more coupons are issued than exist. */
enum coupon_outcome coupon_freeze(struct pg *pg, struct arena *arena, int lanes, int64_t id, struct err *err);
enum coupon_outcome coupon_get(struct pg *pg, struct arena *arena, int64_t id, struct coupon_detail *ret,
                               struct err *err);

struct coupon_page {
    int64_t after;                 /* in: coupons with a higher id are listed */
    size_t room;                   /* in: the number of elements of `coupons` */
    struct coupon_detail *coupons; /* filled, in the order of ids */
    size_t n;                      /* out: the number of coupons filled */
};
bool coupon_list(struct pg *pg, struct arena *arena, struct coupon_page *page, struct err *err);
/* Lists the other way round: coupons with an id below `after` (0: all), the highest id first. */
bool coupon_list_newest(struct pg *pg, struct arena *arena, struct coupon_page *page, struct err *err);
/* Reads the database's clock: microseconds since 1970. */
bool coupon_now(struct pg *pg, int64_t *ret_now_us, struct err *err);

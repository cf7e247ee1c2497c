/* Administration: creating and changing coupons. One call, one transaction, several round trips; rare.
 *
 * A change of a coupon takes its admit lane's lock, so that no ticket is given by the old rules once the change has
 * been answered, and raises the coupon's version. */
#pragma once

#include "store/pg.h"
#include "model/coupon.h"

struct coupon_detail {
    struct coupon row;
    const char *name; /* in the arena */
    double discount_rate;
    int64_t create_us;
};

/* What came of it; where it is not COUPON_OK, err's text says it for people. */
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
/* Sets the status; the same status again is fine, a closed coupon stays closed. */
enum coupon_outcome coupon_set_status(struct pg *pg, struct arena *arena, int lanes, int64_t id,
                                      enum coupon_status status, struct coupon_detail *ret, struct err *err);
enum coupon_outcome coupon_add_quantity(struct pg *pg, struct arena *arena, int lanes, int64_t id, int64_t quantity,
                                        const char *request_id, struct coupon_detail *ret, struct err *err);
/* No more admission and issuing: more was issued than there is. */
enum coupon_outcome coupon_freeze(struct pg *pg, struct arena *arena, int lanes, int64_t id, struct err *err);
enum coupon_outcome coupon_get(struct pg *pg, struct arena *arena, int64_t id, struct coupon_detail *ret,
                               struct err *err);
/* Up to `max` coupons with an id above `after`, by id, into ret[0..*ret_n). */
bool coupon_list(struct pg *pg, struct arena *arena, int64_t after, int max, struct coupon_detail *ret, size_t *ret_n,
                 struct err *err);
/* The database's clock. */
bool coupon_now(struct pg *pg, int64_t *ret_now_us, struct err *err);

/* What the steps know of coupons and tickets, as read from Postgres. Times are wall microseconds since 1970. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum stream { STREAM_REQUESTED = 0, STREAM_PUBLISHED = 1 };
#define STREAMS 2

/* coupon.v1.Coupon.Status */
enum coupon_status { COUPON_PUBLISHABLE = 1, COUPON_PAUSED = 2, COUPON_CLOSED = 3 };

/* coupon.v1.RejectReason */
enum reject_reason {
    REJECT_NONE = 0,
    REJECT_SOLD_OUT = 1,
    REJECT_ALREADY_ISSUED = 2,
    REJECT_NOT_OPEN = 3,
    REJECT_CLOSED = 4,
    REJECT_EXPIRED = 5,
};

#define TIME_OPEN_START INT64_MIN /* no open_time: open from the beginning */
#define TIME_OPEN_END   INT64_MAX /* no expire_time: never expires */

/* All zero but for the id where there is no such coupon. */
struct coupon {
    int64_t id;
    bool exists;
    bool frozen;
    enum coupon_status status;
    int64_t quantity, accepted, issued, rejected;
    int64_t highest;            /* ticket that was issued or rejected */
    int64_t open_us, expire_us; /* TIME_OPEN_START, TIME_OPEN_END where absent */
    int64_t version;
};

/* Why a coupon gives no ticket now. */
enum refusal {
    REFUSAL_NONE = 0,
    REFUSAL_COUPON_NOT_FOUND,
    REFUSAL_SOLD_OUT,
    REFUSAL_NOT_OPEN,
    REFUSAL_PAUSED, /* a frozen coupon too */
    REFUSAL_CLOSED,
    REFUSAL_EXPIRED,
};

/* The one rule of admission, for the gate and for admit: would a newcomer get a ticket at `now_us`? */
enum refusal coupon_refusal(const struct coupon *coupon, int64_t now_us);

/* What the flag in Redis should say: publishable, not expired, tickets left. Not whether it has opened yet. */
bool coupon_is_available(const struct coupon *coupon, int64_t now_us);
/* The flag's version. Within one version of the coupon availability only ever ends, so twice the version, and one more
 * once it ended: of two writers with the same flag version both write the same value. */
int64_t coupon_flag_version(const struct coupon *coupon, int64_t now_us);

#define NOT_ISSUED INT64_MIN

/* Where a user's request stands: a row of the ledger, and what became of its ticket. */
struct request_status {
    int64_t coupon_id, user_id;
    bool found;
    int64_t ticket;
    const char *request_id;
    int64_t accept_us;
    int64_t issue_us; /* NOT_ISSUED where it was not issued */
    enum reject_reason reject_reason;
};

/* Whether nothing about the request will change any more: its ticket was issued or rejected. */
bool request_status_is_final(const struct request_status *status);
/* Whether a request that comes with the id `sent` repeats the one that the ledger holds with the id `stored`, and so
 * gets the first answer. An empty id names no request: it repeats nothing. */
bool request_id_is_repeat(const char *stored, const char *sent);

/* SPDX-License-Identifier: Apache-2.0 */
/* Coupons and tickets as the steps read them from Postgres, and the rules that depend on them alone. All functions
 * are pure: any thread. Times are wall-clock microseconds since 1970. */
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

/* A coupon's row with its counters. If the coupon does not exist, everything except `id` is zero. */
struct coupon {
    int64_t id;
    bool exists;
    bool frozen;
    enum coupon_status status;
    int64_t quantity, accepted, issued, rejected;
    int64_t highest;            /* the highest ticket that was issued or rejected */
    int64_t open_us, expire_us; /* TIME_OPEN_START and TIME_OPEN_END if not set */
    int64_t version;
};

/* Why a coupon gives no ticket at present. */
enum refusal {
    REFUSAL_NONE = 0,
    REFUSAL_COUPON_NOT_FOUND,
    REFUSAL_SOLD_OUT,
    REFUSAL_NOT_OPEN,
    REFUSAL_PAUSED, /* or frozen */
    REFUSAL_CLOSED,
    REFUSAL_EXPIRED,
};

/* The rule of admission, which the gate and admit share: why a user without a ticket is refused at `now_us`, or
 * REFUSAL_NONE. */
enum refusal coupon_refusal(const struct coupon *coupon, int64_t now_us);

/* The value that the coupon's flag in Redis should have: whether a user would get a ticket if the coupon was open. The
 * flag ignores open_us. */
bool coupon_is_available(const struct coupon *coupon, int64_t now_us);
/* The version of the coupon's flag: twice the coupon's version, plus 1 if the coupon is not available. Within one
 * version of the coupon, availability can end but not begin. So two writers that use the same flag version write the
 * same value. */
int64_t coupon_flag_version(const struct coupon *coupon, int64_t now_us);

/* True if the coupon gives no more tickets unless its row is changed, and all its tickets are issued or rejected. */
bool coupon_has_ended(const struct coupon *coupon, int64_t now_us);

#define NOT_ISSUED INT64_MIN

/* The state of a user's request: its row in the ledger, and the fate of its ticket. */
struct request_status {
    int64_t coupon_id, user_id;
    bool found;
    int64_t ticket;
    const char *request_id;
    int64_t accept_us;
    int64_t issue_us; /* NOT_ISSUED if the ticket was not issued */
    enum reject_reason reject_reason;
};

/* True if the request's ticket was issued or rejected, so that its status no longer changes. */
bool request_status_is_final(const struct request_status *status);
/* True if a request with the id `sent` repeats the request that the ledger holds with the id `stored`, and so gets
 * the first answer. An empty id never matches. */
bool request_id_is_repeat(const char *stored, const char *sent);

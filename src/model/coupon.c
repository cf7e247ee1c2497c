/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of coupons and requests; see coupon.h. */
#include "model/coupon.h"

#include <string.h>

enum refusal coupon_refusal(const struct coupon *coupon, int64_t now_us) {
    if (!coupon->exists)
        return REFUSAL_COUPON_NOT_FOUND;
    if (coupon->status == COUPON_CLOSED)
        return REFUSAL_CLOSED;
    if (now_us >= coupon->expire_us)
        return REFUSAL_EXPIRED;
    if (coupon->status == COUPON_PAUSED || coupon->frozen)
        return REFUSAL_PAUSED;
    if (now_us < coupon->open_us)
        return REFUSAL_NOT_OPEN;
    if (coupon->accepted >= coupon->quantity)
        return REFUSAL_SOLD_OUT;
    return REFUSAL_NONE;
}

bool coupon_is_available(const struct coupon *coupon, int64_t now_us) {
    struct coupon opened = *coupon;
    opened.open_us = TIME_OPEN_START;
    return coupon_refusal(&opened, now_us) == REFUSAL_NONE;
}

int64_t coupon_flag_version(const struct coupon *coupon, int64_t now_us) {
    return 2 * coupon->version + !coupon_is_available(coupon, now_us);
}

bool coupon_has_ended(const struct coupon *coupon, int64_t now_us) {
    enum refusal refusal = coupon_refusal(coupon, now_us);
    return (refusal == REFUSAL_CLOSED || refusal == REFUSAL_EXPIRED || refusal == REFUSAL_SOLD_OUT) &&
           coupon->accepted == coupon->issued + coupon->rejected;
}

bool request_status_is_final(const struct request_status *status) {
    return status->issue_us != NOT_ISSUED || status->reject_reason != REJECT_NONE;
}

bool request_id_is_repeat(const char *stored, const char *sent) {
    return *sent && strcmp(stored, sent) == 0;
}

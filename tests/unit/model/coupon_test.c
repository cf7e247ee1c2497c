/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a coupon and of a request for it. */
#include <criterion/criterion.h>

#include "model/coupon.h"

static const struct coupon open_coupon = {
    .id = 7,
    .exists = true,
    .status = COUPON_PUBLISHABLE,
    .quantity = 10,
    .accepted = 9,
    .open_us = 1000,
    .expire_us = 2000,
    .version = 3,
};

Test(coupon, the_first_reason_that_will_not_pass_is_the_one_a_newcomer_is_told) {
    struct coupon coupon = open_coupon;
    cr_expect_eq(coupon_refusal(&coupon, 1999), REFUSAL_NONE);
    cr_expect_eq(coupon_refusal(&coupon, 999), REFUSAL_NOT_OPEN);
    coupon.accepted = 10;
    cr_expect_eq(coupon_refusal(&coupon, 1999), REFUSAL_SOLD_OUT);
    coupon.frozen = true;
    cr_expect_eq(coupon_refusal(&coupon, 1999), REFUSAL_PAUSED);
    coupon.frozen = false;
    coupon.status = COUPON_PAUSED;
    cr_expect_eq(coupon_refusal(&coupon, 1999), REFUSAL_PAUSED);
    cr_expect_eq(coupon_refusal(&coupon, 2000), REFUSAL_EXPIRED);
    coupon.status = COUPON_CLOSED;
    cr_expect_eq(coupon_refusal(&coupon, 2000), REFUSAL_CLOSED);
    coupon.exists = false;
    cr_expect_eq(coupon_refusal(&coupon, 2000), REFUSAL_COUPON_NOT_FOUND);
}

/* Asks each property of a coupon for itself. */
static bool would_give_a_ticket_once_open(const struct coupon *coupon, int64_t now_us) {
    return coupon->exists && coupon->status == COUPON_PUBLISHABLE && !coupon->frozen && now_us < coupon->expire_us &&
           coupon->accepted < coupon->quantity;
}

/* Numbers the coupons that differ in what matters to a newcomer. */
static struct coupon variant(int number) {
    static const int64_t opens[] = {TIME_OPEN_START, 1000}, expires[] = {2000, TIME_OPEN_END};
    static const enum coupon_status statuses[] = {COUPON_PUBLISHABLE, COUPON_PAUSED, COUPON_CLOSED};
    struct coupon coupon = open_coupon;
    coupon.exists = number % 2;
    coupon.frozen = number / 2 % 2;
    coupon.open_us = opens[number / 4 % 2];
    coupon.expire_us = expires[number / 8 % 2];
    coupon.status = statuses[number / 16 % 3];
    coupon.accepted = 9 + number / 48 % 2;
    return coupon;
}
#define VARIANTS 96

Test(coupon, it_is_available_if_it_is_not_refused_once_it_is_open) {
    static const int64_t times[] = {INT64_MIN, 0, 999, 1000, 1999, 2000, INT64_MAX - 1};
    for (int number = 0; number < VARIANTS; number++) {
        const struct coupon coupon = variant(number);
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
            int64_t now_us = times[i], open_us = coupon.open_us > now_us ? coupon.open_us : now_us;
            bool available = coupon_is_available(&coupon, now_us);
            cr_expect_eq(available, would_give_a_ticket_once_open(&coupon, now_us), "variant %d, time %zu", number, i);
            cr_expect_eq(available, coupon_refusal(&coupon, open_us) == REFUSAL_NONE, "variant %d, time %zu", number,
                         i);
        }
    }
}

Test(coupon, a_flag_is_true_before_the_opening_and_its_version_grows_when_it_ends) {
    struct coupon coupon = open_coupon;
    cr_expect(coupon_is_available(&coupon, 0));
    cr_expect_eq(coupon_flag_version(&coupon, 0), 6);
    cr_expect_not(coupon_is_available(&coupon, 2000));
    cr_expect_eq(coupon_flag_version(&coupon, 2000), 7);
    coupon.version++;
    coupon.expire_us = TIME_OPEN_END;
    cr_expect_eq(coupon_flag_version(&coupon, 2000), 8);
}

Test(coupon, it_has_ended_once_it_gives_no_tickets_and_all_are_issued_or_rejected) {
    struct coupon coupon = open_coupon;
    coupon.accepted = 5;
    coupon.issued = 3;
    coupon.rejected = 2;
    cr_expect_not(coupon_has_ended(&coupon, 0));
    cr_expect(coupon_has_ended(&coupon, coupon.expire_us));
    coupon.status = COUPON_PAUSED;
    cr_expect_not(coupon_has_ended(&coupon, 0));
    coupon.status = COUPON_CLOSED;
    cr_expect(coupon_has_ended(&coupon, 0));
    coupon.issued = 2;
    cr_expect_not(coupon_has_ended(&coupon, 0), "a ticket is unissued");
    coupon.issued = 4;
    cr_expect_not(coupon_has_ended(&coupon, 0), "one too many is issued");
    coupon.status = COUPON_PUBLISHABLE;
    coupon.accepted = coupon.quantity;
    coupon.issued = coupon.quantity - coupon.rejected;
    cr_expect(coupon_has_ended(&coupon, coupon.open_us));
}

Test(coupon, a_status_is_final_once_its_ticket_was_issued_or_rejected) {
    struct request_status status = {.issue_us = NOT_ISSUED};
    cr_expect_not(request_status_is_final(&status));
    status.reject_reason = REJECT_EXPIRED;
    cr_expect(request_status_is_final(&status));
    status = (struct request_status){.issue_us = 0};
    cr_expect(request_status_is_final(&status));
}

Test(coupon, a_request_repeats_another_only_by_an_id_that_is_given_and_equal) {
    cr_expect(request_id_is_repeat("a", "a"));
    cr_expect_not(request_id_is_repeat("a", "b"));
    cr_expect_not(request_id_is_repeat("a", "A"));
    cr_expect_not(request_id_is_repeat("a", ""));
    cr_expect_not(request_id_is_repeat("", "a"));
    cr_expect_not(request_id_is_repeat("", ""));
}

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

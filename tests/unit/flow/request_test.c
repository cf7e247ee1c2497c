/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/request.h"

#include <criterion/criterion.h>

#include "base/clock.h"

static struct outcome got;
static int answers;

static void answer(struct request *request, const struct outcome *outcome) {
    (void)request;
    got = *outcome;
    answers++;
}

static struct request request_new(void) {
    answers = 0;
    return (struct request){.kind = REQUEST_PUBLISH, .answer = answer, .coupon_id = 7, .user_id = 9};
}

Test(request, a_status_ends_it_and_is_handed_on) {
    struct request request = request_new();
    const struct request_status status = {.ticket = 3};
    request_answer(&request, &status);
    cr_assert_eq(answers, 1);
    cr_assert_eq(got.kind, OUTCOME_STATUS);
    cr_assert_eq(got.statuses, &status);
    cr_assert_eq(got.n, 1);
    request_end_already_requested(&request, &status);
    cr_assert_eq(got.kind, OUTCOME_ALREADY_REQUESTED);
    cr_assert_eq(got.statuses, &status);
}

Test(request, a_page_tells_whether_there_are_more) {
    struct request request = request_new();
    const struct request_status rows[2] = {{.ticket = 1}, {.ticket = 2}};
    request_end_page(&request, rows, 2, true);
    cr_assert_eq(got.kind, OUTCOME_PAGE);
    cr_assert_eq(got.n, 2);
    cr_assert(got.more);
    request_end_page(&request, rows, 0, false);
    cr_assert_not(got.more);
}

Test(request, a_refusal_carries_the_coupon_it_was_decided_by) {
    struct request request = request_new();
    const struct coupon coupon = {.id = 7};
    request_refuse(&request, REFUSAL_SOLD_OUT, &coupon);
    cr_assert_eq(got.kind, OUTCOME_REFUSED);
    cr_assert_eq(got.refusal, REFUSAL_SOLD_OUT);
    cr_assert_eq(got.coupon, &coupon);
}

Test(request, each_failure_has_its_own_outcome) {
    struct request request = request_new();
    const struct err err = {.code = ERR_UNAVAILABLE};
    request_fail(&request, &err);
    cr_expect_eq(got.kind, OUTCOME_BACKEND_FAILED);
    cr_expect_eq(got.err, &err);
    request_refuse_overloaded(&request);
    cr_expect_eq(got.kind, OUTCOME_OVERLOADED);
    request_refuse_stopping(&request);
    cr_expect_eq(got.kind, OUTCOME_STOPPING);
    request_end_not_found(&request);
    cr_expect_eq(got.kind, OUTCOME_REQUEST_NOT_FOUND);
    cr_expect_eq(answers, 4);
}

Test(request, without_deadlines_a_batch_waits_as_long_as_its_patience) {
    int64_t before_us = clock_mono_us(), give_up_us = request_give_up_us(NULL, 0, 5000), after_us = clock_mono_us();
    cr_assert_geq(give_up_us, before_us + 5000);
    cr_assert_leq(give_up_us, after_us + 5000);
}

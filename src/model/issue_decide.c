/* SPDX-License-Identifier: Apache-2.0 */
/* The decision of issue; see issue_decide.h. */
#include "model/issue_decide.h"

#include "base/pair_set.h"

static struct issue_answer dead(const char *reason) {
    return (struct issue_answer){.verdict = ISSUE_DEAD, .dead_reason = reason};
}

static struct issue_answer rejected(enum reject_reason reason) {
    return (struct issue_answer){.verdict = ISSUE_REJECTED, .reject_reason = reason};
}

enum issue_before issue_before(const struct coupon *coupon, int64_t ticket) {
    if (ticket > coupon->highest)
        return ISSUE_NEVER;
    return coupon->issued + coupon->rejected == coupon->highest ? ISSUE_BEFORE : ISSUE_UNSURE;
}

static struct issue_answer decide_one(const struct coupon *coupon, const struct issuance_event *event) {
    if (!coupon->exists)
        return dead("there is no such coupon");
    if (event->ledger_user_id == 0)
        return dead("the ledger has no such ticket of this coupon");
    if (event->ledger_user_id != event->user_id)
        return dead("the ledger has another user for this ticket");
    if (event->is_decided)
        return (struct issue_answer){.verdict = ISSUE_DUPLICATE};
    if (coupon->frozen)
        return dead("the coupon is frozen");
    if (event->ticket > coupon->quantity || coupon->issued >= coupon->quantity)
        return rejected(REJECT_SOLD_OUT);
    if (event->accept_us >= coupon->expire_us)
        return rejected(REJECT_EXPIRED);
    if (event->accept_us < coupon->open_us)
        return rejected(REJECT_NOT_OPEN);
    return (struct issue_answer){.verdict = ISSUE_ISSUED};
}

void issue_decide(struct arena *arena, struct coupon *coupons, const struct issuance_event *events,
                  const size_t *coupon_of, size_t n_events, struct issue_answer *ret_answers) {
    struct pair_set decided; /* (coupon, ticket) in this batch */
    pair_set_init(&decided, arena, n_events);
    for (size_t i = 0; i < n_events; i++) {
        struct coupon *coupon = &coupons[coupon_of[i]];
        struct issue_answer answer = decide_one(coupon, &events[i]);
        if ((answer.verdict == ISSUE_ISSUED || answer.verdict == ISSUE_REJECTED) &&
            !pair_set_add(&decided, coupon->id, events[i].ticket))
            answer = (struct issue_answer){.verdict = ISSUE_DUPLICATE};
        coupon->issued += answer.verdict == ISSUE_ISSUED;
        coupon->rejected += answer.verdict == ISSUE_REJECTED;
        if ((answer.verdict == ISSUE_ISSUED || answer.verdict == ISSUE_REJECTED) && events[i].ticket > coupon->highest)
            coupon->highest = events[i].ticket;
        ret_answers[i] = answer;
    }
}

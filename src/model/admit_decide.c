/* SPDX-License-Identifier: Apache-2.0 */
/* The decision of admit; see admit_decide.h. Pure: any thread. */
#include "model/admit_decide.h"

#include "base/pair_set.h"

void admit_decide(struct arena *arena, struct coupon *coupons, const struct admit_ask *asks, size_t n_asks,
                  int64_t now_us, struct admit_answer *ret_answers) {
    struct pair_set accepted;
    pair_set_init(&accepted, arena, n_asks);
    for (size_t i = 0; i < n_asks; i++) {
        const struct admit_ask *ask = &asks[i];
        struct coupon *coupon = &coupons[ask->coupon];
        struct admit_answer *answer = &ret_answers[i];
        enum refusal refusal = coupon_refusal(coupon, now_us);
        if (ask->in_ledger || pair_set_has(&accepted, (int64_t)ask->coupon, ask->user_id))
            *answer = (struct admit_answer){.verdict = ADMIT_IN_LEDGER};
        else if (refusal != REFUSAL_NONE)
            *answer = (struct admit_answer){.verdict = ADMIT_REFUSED, .refusal = refusal};
        else {
            *answer = (struct admit_answer){.verdict = ADMIT_ACCEPTED, .ticket = ++coupon->accepted};
            pair_set_add(&accepted, (int64_t)ask->coupon, ask->user_id);
        }
    }
}

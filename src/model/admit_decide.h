/* Who gets a ticket: the decision of step 3, without I/O. Called under the lanes' locks with the rows read there. */
#pragma once

#include "base/arena.h"
#include "model/coupon.h"

struct admit_ask {
    size_t coupon; /* index into the coupons */
    int64_t user_id;
    bool in_ledger;
};

struct admit_answer {
    enum { ADMIT_ACCEPTED, ADMIT_KNOWN, ADMIT_REFUSED } verdict;
    int64_t ticket;       /* of ADMIT_ACCEPTED */
    enum refusal refusal; /* of ADMIT_REFUSED */
};

/* In the order of asks: who is in the ledger already, or was accepted earlier in this batch, is KNOWN whatever has
 * become of the coupon; others are refused by coupon_refusal, or get the next ticket, which raises coupons[].accepted.
 */
void admit_decide(struct arena *arena, struct coupon *coupons, const struct admit_ask *asks, size_t n_asks,
                  int64_t now_us, struct admit_answer *ret_answers);

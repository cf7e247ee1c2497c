/* SPDX-License-Identifier: Apache-2.0 */
/* The decision of step 3, admit: which requests of a batch get a ticket. No I/O. The caller holds the locks of the
 * lanes that the batch touches, and has read the rows under these locks. */
#pragma once

#include "base/arena.h"
#include "model/coupon.h"

struct admit_ask {
    size_t coupon; /* index into the coupons */
    int64_t user_id;
    bool in_ledger;
};

struct admit_answer {
    enum { ADMIT_ACCEPTED, ADMIT_IN_LEDGER, ADMIT_REFUSED } verdict;
    int64_t ticket;       /* set with ADMIT_ACCEPTED */
    enum refusal refusal; /* set with ADMIT_REFUSED */
};

/* Decides the requests in the order of `asks`:
 *
 *   - ADMIT_IN_LEDGER: the user is in the ledger, or an earlier request of this batch was accepted for the same user
 *     and coupon. The coupon's state does not matter.
 *   - ADMIT_REFUSED: coupon_refusal gives the reason.
 *   - ADMIT_ACCEPTED: the request gets the next ticket, which raises coupons[].accepted. */
void admit_decide(struct arena *arena, struct coupon *coupons, const struct admit_ask *asks, size_t n_asks,
                  int64_t now_us, struct admit_answer *ret_answers);

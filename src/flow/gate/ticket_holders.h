/* Who is in the ledger of a coupon that gives no tickets any more, so that a stampede on it costs no SQL: whoever is
 * not in here is refused at once; only those who are go on to the ledger, for their first answer.
 *
 * A coupon's set belongs to a version of it and is complete, since it is loaded after that version was seen to be sold
 * out, paused or closed: from then on its ledger does not grow. Loaded in the background, on a thread and a connection
 * of its own. Any thread may ask. */
#pragma once

#include <stdint.h>

#include "flow/context.h"
#include "model/coupon.h"

struct ticket_holders;

bool ticket_holders_start(struct context *context, struct ticket_holders **ret_holders, struct err *err);
void ticket_holders_stop(struct ticket_holders *holders);

/* True: this user surely has no ticket of the coupon. False: perhaps; the set may still be loading, or be too large to
 * be kept. `coupon`: as known, refused by `refusal`. */
bool ticket_holders_exclude(struct ticket_holders *holders, const struct coupon *coupon, enum refusal refusal,
                            int64_t user_id);

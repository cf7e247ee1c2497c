/* SPDX-License-Identifier: Apache-2.0 */
/* The users in the ledgers of coupons that give no more tickets. The gate refuses all other users of such a coupon
 * at once, so that a stampede costs no SQL. Only users in the set go on to the ledger, for their first answer.
 *
 * A coupon's set belongs to one version of the coupon. It is complete, because it is loaded after that version was
 * seen to be sold out, paused or closed, and the ledger does not grow any more. Sets are loaded in the background,
 * on a thread and a connection of their own. Any thread may ask. */
#pragma once

#include <stdint.h>

#include "flow/context.h"
#include "model/coupon.h"

struct ticket_holders;

bool ticket_holders_start(struct context *context, struct ticket_holders **ret_holders, struct err *err);
void ticket_holders_stop(struct ticket_holders *holders);

/* Returns true if the user surely has no ticket of the coupon. Returns false if that is unknown: the set may still
 * be loading, or be too large to keep. `coupon` is the row that `refusal` was decided by. */
bool ticket_holders_exclude(struct ticket_holders *holders, const struct coupon *coupon, enum refusal refusal,
                            int64_t user_id);

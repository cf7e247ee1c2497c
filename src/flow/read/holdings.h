/* SPDX-License-Identifier: Apache-2.0 */
/* Lists the coupons that users hold: answers ListUserCoupons. One thread with one connection does all the work, so that
 * long lists delay nobody but other lists. One round trip reads the pages of up to LOOKUP_PAGES_MAX waiting
 * requests. */
#pragma once

#include "flow/context.h"
#include "flow/request.h"

struct holdings;

bool holdings_start(struct context *context, struct holdings **ret_holdings, struct err *err);
/* Queues the request. Returns false if the queue is full; the request then stays the caller's. Any thread. */
bool holdings_push(struct holdings *holdings, struct request *request);
void holdings_stop(struct holdings *holdings);

/* Step 3, admit: gives tickets. One transaction per batch (store/admission.h) under the locks of the lanes it touches:
 * ledger, counters and outbox together, so that what was answered ACCEPTED is durable and will be issued.
 *
 * Where the connection breaks, even within COMMIT, the batch is done again from its beginning: taking the lane's lock
 * waits for what the old connection began, and the ledger then says who was accepted by it. */
#pragma once

#include "flow/context.h"
#include "flow/request.h"

struct admit;

/* Takes from the context what it hands on to: the coupon memory learns the coupons read, status gets the users who are
 * in the ledger already, and the relay of the requested stream is woken after commits. */
bool admit_start(struct context *context, struct admit **ret_admit, struct err *err);
/* False: full. Any thread. */
bool admit_push(struct admit *admit, struct request *request);
/* Whether a request for the coupon would be taken now. Any thread. */
bool admit_has_room(struct admit *admit, int64_t coupon_id);
void admit_stop(struct admit *admit);

/* SPDX-License-Identifier: Apache-2.0 */
/* Step 3, admit: gives tickets. One transaction per batch (store/admission.h), under the locks of the lanes that the
 * batch touches, writes ledger, counters and outbox together. A request that was answered ACCEPTED is therefore
 * durable and will be issued.
 *
 * If the connection breaks, even during COMMIT, admit repeats the batch from its beginning. To take the lane's lock
 * it has to wait for the old connection's transaction; after that the ledger shows which requests that transaction
 * accepted. */
#pragma once

#include "flow/context.h"
#include "flow/request.h"

struct admit;

/* Uses from the context: coupon_memory, which learns the coupons that admit reads; status, which gets the requests
 * of users that are in the ledger already; and the relay of the requested stream, which admit wakes after commits. */
bool admit_start(struct context *context, struct admit **ret_admit, struct err *err);
/* Queues the request. Returns false if the queue is full; the request then stays the caller's. Any thread. */
bool admit_push(struct admit *admit, struct request *request);
/* True if admit_push would take a request for the coupon now. Any thread. */
bool admit_has_room(struct admit *admit, int64_t coupon_id);
void admit_stop(struct admit *admit);

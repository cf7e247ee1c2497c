/* SPDX-License-Identifier: Apache-2.0 */
/* Step 2, gate: refuses requests that would surely get no ticket. For coupons that this process knows nothing fresh
 * about, one MGET per batch reads the flags from Redis. If a flag is missing or Redis is unavailable, the gate asks
 * Postgres, once per coupon and batch, and restores the flag.
 *
 * Before the gate refuses a request, status looks the user up in the ledger, since a repeat of an accepted request
 * gets the first answer even after the coupon has sold out. The gate skips this if it knows that the user is not in
 * the ledger (flow/gate/ticket_holders.h). */
#pragma once

#include "flow/context.h"
#include "flow/request.h"

struct gate;

bool gate_start(struct context *context, struct gate **ret_gate, struct err *err);
/* Answers the request, or hands it on. Returns false if a queue is full; the request then stays the caller's. Any
 * thread. */
bool gate_push(struct gate *gate, struct request *request);
/* Whether a user who asks now is surely refused, and holds no ticket. *ret_coupon is the row that decided. Does not
 * block. Any thread. */
bool gate_refuses(struct gate *gate, int64_t coupon_id, int64_t user_id, enum refusal *ret_refusal,
                  struct coupon *ret_coupon);
void gate_stop(struct gate *gate);

/* Step 2, gate: keeps those out who would surely be refused. One MGET per batch for the coupons that this process knows
 * nothing fresh about; a flag that is missing, or Redis away, means asking Postgres, once per coupon and batch, and
 * putting the flag back.
 *
 * Who is refused here is still looked up in the ledger (status), since a repeat of an accepted request gets the first
 * answer even after the coupon has sold out; unless it is known that this user is not in it (flow/winners.h). */
#pragma once

#include "flow/context.h"
#include "flow/request.h"

struct gate;

bool gate_start(struct context *context, struct gate **ret_gate, struct err *err);
/* Answers the request, or hands it on. False: full. Any thread. */
bool gate_push(struct gate *gate, struct request *request);
void gate_stop(struct gate *gate);

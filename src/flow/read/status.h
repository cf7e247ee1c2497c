/* SPDX-License-Identifier: Apache-2.0 */
/* The state of requests: answers GetStatus, and looks up in the ledger the requests that gate or admit gave no ticket
 * to. A repeat gets its first answer, brought up to date. One query reads the rows of all waiting requests. One thread
 * with one connection does all the work. */
#pragma once

#include "flow/context.h"
#include "flow/request.h"

struct status;

bool status_start(struct context *context, struct status **ret_status, struct err *err);
/* Queues the request. Returns false if the queue is full; the request then stays the caller's. Any thread. */
bool status_push(struct status *status, struct request *request);
void status_stop(struct status *status);

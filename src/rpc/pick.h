/* SPDX-License-Identifier: Apache-2.0 */
/* Picks an address for each call of a channel; see pick.c. Any thread. */
#pragma once

#include <stdbool.h>

struct operation;
struct rpc_channel;

#define NO_CORE (-1)

/* Returns the index of the core channel that the call is to begin on; or NO_CORE: the call waits, and operation_resume
 * begins it later, on the channel's first poller. */
int pick_core(struct operation *operation);
/* Ends the wait of a call. Returns false if it does not wait, or if its wait has just ended. */
bool pick_withdraw(struct operation *operation);
/* Begins all calls that wait, wherever that may be. */
void pick_end(struct rpc_channel *channel);

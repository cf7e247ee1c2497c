/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that the edge takes before the core reads them. To its service, a taken call is like any other. Its answer goes
 * to the edge instead of the core. See call.h for the life of a call. */
#pragma once

#include "edge/early.h"
#include "rpc/call.h"

/* Sets what the edge needs for calls of server->options.early.path to be taken. */
void taken_offer(struct rpc_server *server, struct edge_early *early);
/* Ends a taken call with a message, as call_respond. */
void taken_respond(struct rpc_call *call, const ProtobufCMessage *message);
/* Gives the answer to the edge if there is one. Lock held, poller's thread. */
void taken_pump(struct rpc_call *call);
/* Tells on_call_end, once, that the call was answered or that its client is gone. */
void taken_tell_end(struct rpc_call *call);
/* Frees what only taken calls have. */
void taken_deinit(struct rpc_call *call);
/* The client's address as the core would write it, in the call's memory. From the service function, or `allow`. */
char *taken_peer(struct rpc_call *call);

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to a server from within its process, over a pair of sockets: without an address, TLS or a certificate. To the
 * services they are like any other call, and they carry a token or have no rights. They are made for somebody else, so
 * they may say who their peer is. */
#pragma once

#include "rpc/client.h"
#include "rpc/server.h"

/* A metadatum: rpc_call_peer of the call returns `peer`. Its value has a key that nobody outside the process knows. */
#define RPC_LOCAL_PEER      "couponsd-local-peer"
#define RPC_LOCAL_PEER_SIZE 160
void rpc_local_peer(const struct rpc_server *server, const char *peer, char ret_value[static RPC_LOCAL_PEER_SIZE]);

/* The server has started; free the channel before the server stops. Closures and `done` run on a poller of the server.
 * (A thread of its own would share the core's one epoll set with the server's pollers, and would often be the one that
 * reads from their clients.)
 *
 * The channel does not connect again: once its connection is lost, e.g. since the server has closed it at its greatest
 * age, all calls end with UNAVAILABLE. */
bool rpc_channel_new_local(struct rpc_server *server, struct rpc_channel **ret_channel, struct err *err);

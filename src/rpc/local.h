/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to a server from within its process, over a pair of sockets: without an address, TLS or a certificate. To the
 * services they are like any other call, and they carry a token or have no rights. Their peer is what they say it is in
 * RPC_LOCAL_PEER, since they are made for somebody else. */
#pragma once

#include "rpc/client.h"
#include "rpc/server.h"

/* The metadatum of a call with the peer that rpc_call_peer returns; only local calls are believed. */
#define RPC_LOCAL_PEER "couponsd-local-peer"

/* The server has started; free the channel before the server stops. Closures and `done` run on a poller of the server.
 * (A thread of its own would share the core's one epoll set with the server's pollers, and would often be the one that
 * reads from their clients.)
 *
 * The channel does not connect again: once its connection is lost, e.g. since the server has closed it at its greatest
 * age, all calls end with UNAVAILABLE. */
bool rpc_channel_new_local(struct rpc_server *server, struct rpc_channel **ret_channel, struct err *err);

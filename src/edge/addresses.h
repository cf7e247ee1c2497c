/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* The address without its port, of IPv6 the network (/64); 0 where there is none, as with Unix sockets: of those
 * nothing is remembered. */
uint64_t address_key(const struct sockaddr *address, socklen_t len);
/* A connection was cut off. */
void address_offends(uint64_t key, int64_t now_ms);
/* How often that was so lately; forgotten with time. */
int address_offences(uint64_t key, int64_t now_ms);
/* False: it has connected too often without calling. Otherwise one of the other two follows, once. */
bool address_connects(uint64_t key, int64_t now_ms);
/* On a connection there was a first call. */
void address_calls(uint64_t key, int64_t now_ms);
/* One was closed on which there never was. */
void address_leaves(uint64_t key, int64_t now_ms);

/* SPDX-License-Identifier: Apache-2.0 */
/* What the edge remembers of clients' addresses. Any thread. See addresses.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Sets the limit of an address's connections that wait for their first call. 0: every address has the key 0. */
void addresses_init(int waiting_max);
/* A key for the address without its port, and for the network (/64) of an IPv6 address. 0 for other addresses, such as
 * those of Unix sockets: nothing is remembered for key 0. */
uint64_t address_key(const struct sockaddr *address, socklen_t len);
/* A connection of the address was cut off. */
void address_offends(uint64_t key, int64_t now_ms);
/* How many of its connections were cut off lately. The number falls with time. */
int address_offences(uint64_t key, int64_t now_ms);
/* A connection has come. False: its address has connected too often without calling. Otherwise one of the next two
 * functions has to follow, once. */
bool address_connects(uint64_t key, int64_t now_ms);
/* The first call has come on such a connection. */
void address_calls(uint64_t key, int64_t now_ms);
/* Such a connection was closed without a call. */
void address_leaves(uint64_t key, int64_t now_ms);

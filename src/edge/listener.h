/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets, for builds with and without the edge. Stateless. */
#pragma once

#include <stdbool.h>

/* Whether the descriptor is a listening socket. */
bool listener_is(int fd);
/* Returns the port that a socket of IPv4 or IPv6 is bound to; 0: none. */
int listener_port(int fd);

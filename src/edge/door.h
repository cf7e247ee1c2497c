/* SPDX-License-Identifier: Apache-2.0 */
/* Which connections are accepted. Any thread. See door.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* What becomes of connections to a port:
 *
 *   door_open     a server accepts them
 *   door_close    the server is stopping, and they are closed at once
 *   door_forget   the server is gone */
void door_open(int port);
void door_close(int port);
void door_forget(int port);
/* Limits the clients' connections of the process; 0: only the limit of open files does. The last call's value applies.
 * Returns the highest descriptor that a client may have under the limit of open files, plus 1. */
int door_limit(int max_connections);
/* Connections closed because there were too many, since the process began. */
int64_t door_refused(void);
/* accept4 for every listener of the process: closes connections that are refused, and goes on with the next one. -1 and
 * EAGAIN: no connection waits, or other descriptors should have their turn. */
int door_accept(int listener, struct sockaddr *address, socklen_t *len, int flags);

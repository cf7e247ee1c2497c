/* SPDX-License-Identifier: Apache-2.0 */
/* Which connections are accepted. Any thread. See door.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* A server accepts at that port; it stops, so new connections are closed at once; it is gone. */
void door_open(int port);
void door_close(int port);
void door_forget(int port);
/* Limits the clients' connections of the process; 0: by the limit of open files alone. The last call holds. Returns the
 * highest descriptor that a client may have under the limit of open files, plus 1. */
int door_limit(int max_connections);
/* Connections closed because there were too many. */
int64_t door_refused(void);
/* accept4 for a listener of the process: closes what is not accepted, and goes on with the next connection. -1 and EAGAIN
 * where there is none, or where another descriptor should have its turn. */
int door_accept(int listener, struct sockaddr *address, socklen_t *len, int flags);
/* Whether the descriptor is a listening socket. */
bool door_is_listener(int fd);

#pragma once

#include <stdint.h>

/* A server is about to listen at that port; from now on new connections to it are closed at once; it is no longer. */
void door_open(int port);
void door_close(int port);
void door_forget(int port);
/* For all of the process: 0 for no limit, but that of descriptors; the last call holds. Returns what that is: no client
 * has a descriptor so high. */
int door_limit(int max_connections);
/* Connections closed as there were too many. */
int64_t door_refused(void);

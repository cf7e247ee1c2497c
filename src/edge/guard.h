#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "rpc/server.h"

/* For all of the process; of sizes the highest holds. max_fds: clients' descriptors are below that. */
void guard_limit(int max_fds, size_t max_metadata_bytes, size_t max_message_bytes);
/* Of a connection that was accepted, by its descriptor; false: it is not wanted. */
bool guard_let_in(int fd, const struct sockaddr *address, socklen_t len);
/* Its descriptor is watched from now on. */
void guard_watched(int fd, int epoll, const struct epoll_event *event);
/* Connections cut off, by reason. */
int64_t guard_cut(enum rpc_abuse why);

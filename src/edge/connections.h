/* SPDX-License-Identifier: Apache-2.0 */
/* The clients' connections. Any thread; one at a time reads a connection. See connections.c. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "edge/abuse.h"

struct connection;

/* For the whole process. max_fds: the clients' descriptors are below that. Of the sizes the highest holds. */
void connections_init(int max_fds, size_t max_metadata_bytes, size_t max_message_bytes);
/* Connections cut off, by reason. */
int64_t connections_cut(enum edge_abuse why);

/* A connection was accepted. False: it is not wanted, and the caller closes it. `address` NULL: nothing is remembered of
 * it. */
bool connection_accept(int fd, const struct sockaddr *address, socklen_t len);
/* The client's connection behind a descriptor; NULL where the descriptor is anything else. */
struct connection *connection_of_client(int fd);
/* The descriptor is watched from now on. */
void connection_watched(int fd, int epoll, const struct epoll_event *event);
/* As recvmsg without flags; judges what comes. */
ssize_t connection_read(struct connection *connection, int fd, struct msghdr *message);
/* As sendmsg. */
ssize_t connection_send(struct connection *connection, int fd, const struct msghdr *message, int flags);
/* Sends what is held back. */
void connection_push(struct connection *connection, int fd);
/* The descriptor is about to be closed. */
void connection_close(struct connection *connection, int fd);

/* Judges the bytes that a server's TLS session has decrypted, and replaces them by noise where the client is cut off. Passes
 * over a client's session. */
void session_judge(SSL *ssl, void *bytes, size_t len);
/* Something was encrypted for the client. */
void session_wrote(SSL *ssl);

/* SPDX-License-Identifier: Apache-2.0 */
/* The clients' connections. Any thread; one thread at a time reads a connection. See connections.c. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "edge/abuse.h"

struct connection;

/* For the whole process. Clients' descriptors are below max_fds. If it is called more than once, the largest sizes
 * apply. */
void connections_init(int max_fds, size_t max_metadata_bytes, size_t max_message_bytes);
/* A poller of the server is about to wait. See EDGE_WAIT_MS. */
void connections_poller_waits(void);
/* Connections cut off for a reason, since the process began. */
int64_t connections_cut(enum edge_abuse why);

/* A connection to the port was accepted. False: it is refused, and the caller closes it. `address` NULL: nothing is
 * remembered of it. */
bool connection_accept(int fd, int port, const struct sockaddr *address, socklen_t len);
/* The connection, just accepted, is the self-test's. */
void connection_mark_test(int fd);
bool connection_is_of_test(struct connection *connection);
/* The client's connection with that descriptor; NULL: the descriptor is something else. */
struct connection *connection_of_client(int fd);
/* An epoll watches the descriptor from now on. */
void connection_watched(int fd, int epoll, const struct epoll_event *event);
/* As recvmsg without flags. Judges the bytes, and returns 0 when the client is cut off. */
ssize_t connection_read(struct connection *connection, int fd, struct msghdr *message);
/* As sendmsg. */
ssize_t connection_send(struct connection *connection, int fd, const struct msghdr *message, int flags);
/* Sends what is held back. */
void connection_push(struct connection *connection, int fd);
/* The descriptor is about to be closed: sends what is held back, and forgets the connection. */
void connection_close(struct connection *connection, int fd);

/* Judges the bytes that a server's TLS session has decrypted, and overwrites them when the client is cut off. Ignores
 * clients' sessions. */
void session_judge(SSL *ssl, void *bytes, size_t len);
/* A server's TLS session encrypts something for the client. Ignores clients' sessions. */
void session_wrote(SSL *ssl);

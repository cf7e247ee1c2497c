/* SPDX-License-Identifier: Apache-2.0 */
/* The edge: what stands between clients and gRPC's core.
 *
 * The core (seen with 1.51.1) accepts without a limit, reads one connection for as long as bytes come, buffers and
 * parses what a client sends without asking whether it leads anywhere, and makes a system call for each answer. The edge
 * mends that without a change to the core: it takes the places of eight functions of libc and OpenSSL, which the core
 * calls through the dynamic linker. All eight stand in replaced.c; they behave as ever for every descriptor that is not
 * a client's.
 *
 *   door.c         which connections are accepted: how many, and not while a server stops
 *   connections.c  the clients' connections: whose turn it is to be read, and when a client is cut off
 *   frames.c       judges the HTTP/2 frames of one connection; knows no socket
 *   addresses.c    what is remembered of clients' addresses; knows no socket
 *   cork.c         holds answers back for a moment, so that many go out in one piece; knows nothing of abuse
 *
 * A build without the edge (CMake option EDGE=OFF) has absent.c instead of all that. Every function here exists then,
 * does nothing, and edge_is_present() is false.
 *
 * The edge is one for the whole process. Any thread may call any function here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/abuse.h"

/* What a server allows. Of several servers in a process, the highest sizes and the last max_connections hold. */
struct edge_limits {
    int max_connections; /* at a time; 0: as many as the limit of open files allows, less a share for other uses */
    size_t max_metadata_bytes; /* of a call */
    size_t max_message_bytes;  /* of a message */
};

/* Whether this build has an edge. */
bool edge_is_present(void);
/* Before a server binds. */
void edge_init(const struct edge_limits *limits);

/* A server is about to accept at that port: its connections are guarded from now on. */
void edge_open(int port);
/* The server stops: new connections to that port are closed at once. */
void edge_close(int port);
/* The server is gone. */
void edge_forget(int port);

/* While any thread is between these two, what the core sends to clients is held back; it goes out at the end. */
void edge_batch_begin(void);
void edge_batch_end(void);
/* Some clients do not read: what they did not take is tried again by this. False: some of it is left, so call again
 * within EDGE_RETRY_MS. */
#define EDGE_RETRY_MS 5
bool edge_batch_retry(void);

/* Connections since the process began: closed because there were too many, and cut off. */
int64_t edge_refused(void);
int64_t edge_cut(enum edge_abuse why);

/* --- the self-test (rpc/self_test.c): does the core really call the functions that the edge puts in place? --- */

enum edge_function {
    EDGE_ACCEPT,  /* accept4 */
    EDGE_READ,    /* recvmsg */
    EDGE_SEND,    /* sendmsg */
    EDGE_DECRYPT, /* SSL_read */
    EDGE_ENCRYPT, /* SSL_write */
    EDGE_FUNCTIONS,
};
/* The symbol's name, a literal. */
const char *edge_function_name(enum edge_function function);
/* From the first to the last, connections to `port` are the test's: they leave no trace in statistics or in what is
 * remembered of addresses. One test at a time. */
void edge_test_begin(int port);
/* Whether the function was called for one of them so far. */
bool edge_test_passed(enum edge_function function);
void edge_test_end(void);

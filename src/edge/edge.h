/* SPDX-License-Identifier: Apache-2.0 */
/* The edge stands between clients and gRPC's core.
 *
 * The core (seen with 1.51.1) accepts without a limit, reads one connection for as long as bytes come, buffers and
 * parses everything that a client sends, useful or not, and makes a system call for each answer. The edge prevents that
 * without a change to the core: it replaces eight functions of libc and OpenSSL, which the core calls through the
 * dynamic linker. All eight are in replaced.c. They behave as the originals for every descriptor that is not a
 * client's.
 *
 *   door.c         which connections are accepted: how many, and not while a server stops
 *   connections.c  the clients' connections: which one is read next, and when a client is cut off
 *   frames.c       judges the HTTP/2 frames of one connection; knows no socket
 *   addresses.c    remembers clients' addresses; knows no socket
 *   doorstep/      answers some calls, or hands them to their service, before the core reads them
 *   cork.c         holds answers back for a moment, so that many go out with one system call; knows nothing of abuse
 *
 * A build without the edge (CMake option COUPONSD_EDGE=OFF) has absent.c instead of all that. Every function here
 * exists then, but only edge_close does something, and edge_is_present() is false.
 *
 * The edge is one for the whole process. Any thread may call any function here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/abuse.h"
#include "edge/early.h"
#include "edge/function.h"

/* The limits of a server. If a process has several servers, the largest sizes apply, and the connection limits of the
 * server that called edge_init last. */
struct edge_limits {
    int max_connections; /* at a time; 0: as many as the limit of open files allows, less a reserve for other uses */
    int max_address_waiting; /* connections of an address that wait for their first call; 0: addresses have no limits */
    size_t max_metadata_bytes; /* of a call */
    size_t max_message_bytes;  /* of a message */
};

/* Whether this build has an edge. */
bool edge_is_present(void);
/* Sets the limits. Before a server binds. */
void edge_init(const struct edge_limits *limits);

/* Guards the connections to a port, because a server is about to accept there. */
void edge_open(int port);
/* Answers calls of one method to the port early. `early->path` must outlive edge_stop_early. Without the edge, and with
 * TLS, all calls go to the core. At most 64 ports. */
void edge_answer_early(int port, const struct edge_early *early, size_t max_metadata_bytes);
/* Closes new connections to the port at once, because the server stops. Without the edge, this shuts down every socket
 * of the process that listens at the port. */
void edge_close(int port);
/* Answers no more calls to the port early. Waits for calls of `answer` to end. */
void edge_stop_early(int port);
/* Forgets the port, because the server is gone. */
void edge_forget(int port);

/* Begin and end a batch. While any thread has a batch open, what the core sends to clients is held back; the end of a
 * batch sends it. */
void edge_batch_begin(void);
void edge_batch_end(void);
/* Tries again to send what clients did not take. False: some of it is left, so call again within EDGE_RETRY_MS. */
#define EDGE_RETRY_MS 5
bool edge_batch_retry(void);

/* A poller of the server is about to wait for events, for EDGE_WAIT_MS at most. Where this call is overdue, the process
 * has stood still, and the edge does not blame clients for what has piled up. */
#define EDGE_WAIT_MS 100
void edge_poller_waits(void);

/* Connections since the process began: closed because there were too many, and cut off for a reason. */
int64_t edge_refused(void);
int64_t edge_cut(enum edge_abuse why);

/* --- the self-test (rpc/self_test.c): does the core call the functions of the edge? --- */

/* The name of the function, a literal. */
const char *edge_function_name(enum edge_function function);
/* Between edge_test_begin and edge_test_end, connections to `port` are the test's: they do not count, and nothing is
 * remembered of their addresses. The TLS sessions of servers whose certificate has the common name `name` are the
 * test's, too; NULL: none is. `name` is a literal of at most 63 bytes. One test at a time. */
void edge_test_begin(int port, const char *name);
/* Whether the function was called for a connection of the test. */
bool edge_test_called(enum edge_function function);
void edge_test_end(void);

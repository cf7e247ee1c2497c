/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions of the edge. */
#include "edge/edge.h"

#include "edge/addresses.h"
#include "edge/connections.h"
#include "edge/cork.h"
#include "edge/door.h"
#include "edge/doorstep/doorstep.h"
#include "edge/replaced.h"
#include "edge/self_test_record.h"

bool edge_is_present(void) {
    return true;
}

void edge_init(const struct edge_limits *limits) {
    replaced_link();
    addresses_init(limits->max_address_waiting);
    connections_init(door_limit(limits->max_connections), limits->max_metadata_bytes, limits->max_message_bytes);
}

void edge_open(int port) {
    door_open(port);
}

void edge_answer_early(int port, const struct edge_early *early, size_t max_metadata_bytes) {
    doorstep_open(port, early, max_metadata_bytes);
}

void edge_stop_early(int port) {
    doorstep_forget(port);
}

void edge_close(int port) {
    door_close(port);
}

void edge_forget(int port) {
    door_forget(port);
}

void edge_batch_begin(void) {
    cork_begin();
}

void edge_batch_end(void) {
    cork_end();
}

bool edge_batch_retry(void) {
    return cork_retry(EDGE_RETRY_MS);
}

void edge_poller_waits(void) {
    connections_poller_waits();
}

int64_t edge_refused(void) {
    return door_refused();
}

int64_t edge_cut(enum edge_abuse why) {
    return connections_cut(why);
}

/* --- the self-test --- */

const char *edge_function_name(enum edge_function function) {
    static const char *const names[EDGE_FUNCTIONS] = {
        [EDGE_ACCEPT] = "accept4",   [EDGE_READ] = "recvmsg",      [EDGE_SEND] = "sendmsg",
        [EDGE_DECRYPT] = "SSL_read", [EDGE_ENCRYPT] = "SSL_write",
    };
    return names[function];
}

void edge_test_begin(int port, const char *name) {
    self_test_begin(port, name);
}

bool edge_test_called(enum edge_function function) {
    return self_test_called(function);
}

void edge_test_end(void) {
    self_test_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A build without the edge (COUPONSD_EDGE=OFF): clients talk to the core as it is. Nothing limits how many connect, no
 * client is cut off, and each answer is a system call of its own. Only edge_close does something. */
#include "edge/edge.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "edge/listener.h"

bool edge_is_present(void) {
    return false;
}

void edge_init(const struct edge_limits *limits) {
    (void)limits;
}

void edge_open(int port) {
    (void)port;
}

void edge_answer_early(int port, const struct edge_early *early, size_t max_metadata_bytes) {
    (void)port, (void)early, (void)max_metadata_bytes;
}

bool edge_taken_answer(struct edge_taken *taken, const struct edge_reply *reply) {
    (void)taken, (void)reply;
    return false;
}

void edge_stop_early(int port) {
    (void)port;
}

/* The core offers nothing that stops accepting but leaves the calls alone, so this shuts down the listening sockets
 * themselves. The core (seen with 1.51.1) then gives them up. */
void edge_close(int port) {
    DIR *descriptors = opendir("/proc/self/fd");
    if (!descriptors)
        return;
    for (const struct dirent *entry; (entry = readdir(descriptors)) != NULL;) {
        int fd = (int)strtol(entry->d_name, NULL, 10); /* "." and "..": 0 */
        if (fd > 0 && listener_is(fd) && listener_port(fd) == port)
            shutdown(fd, SHUT_RDWR);
    }
    closedir(descriptors);
}

void edge_forget(int port) {
    (void)port;
}

void edge_batch_begin(void) {}

void edge_batch_end(void) {}

bool edge_batch_retry(void) {
    return true;
}

void edge_poller_waits(void) {}

int64_t edge_refused(void) {
    return 0;
}

int64_t edge_cut(enum edge_abuse why) {
    (void)why;
    return 0;
}

const char *edge_function_name(enum edge_function function) {
    (void)function;
    return "";
}

void edge_test_begin(int port, const char *name) {
    (void)port, (void)name;
}

bool edge_test_called(enum edge_function function) {
    (void)function;
    return false;
}

void edge_test_end(void) {}

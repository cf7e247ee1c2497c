/* SPDX-License-Identifier: Apache-2.0 */
/* Holds back what is sent to clients, so that many answers go out in one piece. Any thread. See cork.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* What is held back of a connection; zeroed at first, and never freed. */
struct cork {
    uint8_t *bytes;
    size_t len, capacity;
    int fd;
    bool is_listed;
    struct cork *next;
};

/* From the first of these to the second, on any threads, what is sent is held back. */
void cork_begin(void);
void cork_end(void);
/* sendmsg, but what is sent meanwhile goes out at the end. */
ssize_t cork_send(struct cork *cork, int fd, const struct msghdr *message, int flags);
/* Sends what is held back, as far as the client takes it. */
void cork_push(struct cork *cork, int fd);
/* The connection is about to be closed. */
void cork_close(struct cork *cork, int fd);
/* Tries again what clients did not take, if it is time. False: some of it is left, so call again within
 * EDGE_RETRY_MS. */
bool cork_retry(void);

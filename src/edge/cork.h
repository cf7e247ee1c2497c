/* SPDX-License-Identifier: Apache-2.0 */
/* Holds back what is sent to clients, so that many answers go out with one system call. Any thread. See cork.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* What is held back of one connection. Zeroed at first, and never freed. */
struct cork {
    uint8_t *bytes;
    size_t len, capacity;
    int fd;
    bool is_listed;
    struct cork *next;
};

/* Begin and end a batch. While any thread has a batch open, what is sent is held back; the end of a batch sends it. */
void cork_begin(void);
void cork_end(void);
/* As sendmsg, but holds the message back while a batch is open. */
ssize_t cork_send(struct cork *cork, int fd, const struct msghdr *message, int flags);
/* Sends what is held back, as far as the client takes it. */
void cork_push(struct cork *cork, int fd);
/* Sends what is held back, as far as the client takes it, and drops the rest: the descriptor is about to be closed. */
void cork_close(struct cork *cork, int fd);
/* Tries again to send what clients did not take, once in `retry_ms`. False: some of it is left, so call again within
 * `retry_ms`. */
bool cork_retry(int retry_ms);

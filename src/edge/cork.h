/* SPDX-License-Identifier: Apache-2.0 */
/* Holds back what is sent to clients, so that many answers go out with one system call. Any thread. See cork.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "edge/outgoing.h"

/* What is held back of one connection. Zeroed at first, and never freed. */
struct cork {
    uint8_t *bytes;
    size_t len, capacity;
    size_t held_before; /* bytes when it was opened */
    int fd;
    bool is_listed;
    struct cork *next;
    bool follows; /* frames of the edge's own may come between those of the core */
    struct outgoing outgoing;
    uint8_t *late; /* frames of the edge's own that wait for the core to end one of its own */
    size_t late_len;
};

/* Begin and end a batch. While any thread has a batch open, what is sent is held back; the end of a batch sends it. */
void cork_begin(void);
void cork_end(void);
/* As sendmsg, but holds the message back while a batch is open. */
ssize_t cork_send(struct cork *cork, int fd, const struct msghdr *message, int flags);
/* For a cork that follows: puts frames of the edge's own between those of the core. cork_open waits until no other
 * thread sends, and returns whether frames may be put: the core is not amid one of its own. cork_put puts bytes;
 * `cork->len` says how many wait for the client. cork_shut lets others send again, and sends what was put, at the end
 * of the batch if one is open. */
bool cork_open(struct cork *cork, int fd);
void cork_put(struct cork *cork, const uint8_t *bytes, size_t len);
/* Between cork_open and cork_shut, whatever cork_open has returned: puts whole frames, now or once they may be put. */
void cork_put_soon(struct cork *cork, const uint8_t *bytes, size_t len);
void cork_shut(struct cork *cork, int fd);
/* Sends what is held back, as far as the client takes it. */
void cork_push(struct cork *cork, int fd);
/* Sends what is held back, as far as the client takes it, and drops the rest: the descriptor is about to be closed. */
void cork_close(struct cork *cork, int fd);
/* Tries again to send what clients did not take, once in `retry_ms`. False: some of it is left, so call again within
 * `retry_ms`. */
bool cork_retry(int retry_ms);

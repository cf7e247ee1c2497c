/* SPDX-License-Identifier: Apache-2.0 */
/* Answers some calls on the doorstep, without the core: when a shop opens, 29 of 30 people get the same refusal, and
 * the core takes ten times as long for it as it takes to decide. See doorstep.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "edge/cork.h"
#include "edge/early.h"
#include "edge/frames.h"

/* Answers calls of one method to a server's port. From when the port is bound until doorstep_forget, which waits for
 * calls of `early->answer` to end. */
void doorstep_open(int port, const struct edge_early *early, size_t max_metadata_bytes);
void doorstep_forget(int port);

/* One connection's. */
struct doorstep;
/* A connection to the port was accepted. NULL: nothing is answered early there. `frames` judges what its client sends;
 * may be NULL. */
struct doorstep *doorstep_new(int port, struct frames *frames);
/* The connection is about to be closed: the clients of its taken calls are gone. Before cork_close. */
void doorstep_part(struct doorstep *doorstep, struct cork *cork, int fd);
/* After doorstep_part. NULL is fine for both. */
void doorstep_free(struct doorstep *doorstep);

/* Where the core wants the bytes that it reads. */
struct doorstep_room {
    struct iovec *pieces;
    size_t n, at; /* the piece that is filled next */
    size_t used;  /* of that piece */
    size_t total; /* bytes put */
};

/* Takes the client's next bytes, which may lie in the room. Puts those that are the core's into the room, and answers
 * into the cork. What does not fit into the room waits (doorstep_has_more). False: the client breaks HTTP/2 in a way
 * that leaves nothing to give to the core; it has to be cut off. One thread at a time, the one that reads. */
bool doorstep_take(struct doorstep *doorstep, struct cork *cork, int fd, const struct msghdr *got, size_t len,
                   struct doorstep_room *room);
/* Whether bytes for the core wait because they did not fit; doorstep_give puts them into the room. */
bool doorstep_has_more(const struct doorstep *doorstep);
void doorstep_give(struct doorstep *doorstep, struct doorstep_room *room);

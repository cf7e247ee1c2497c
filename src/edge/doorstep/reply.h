/* SPDX-License-Identifier: Apache-2.0 */
/* Writes early answers as HTTP/2 frames. An answer that a client has had before takes a byte for each field, since the
 * client remembers it in its table. No sockets; one thread at a time for each table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/early.h"

#define REPLY_REMEMBERED  8
#define REPLY_MAX         (EDGE_ANSWER_BYTES + 32)
#define REPLY_ONCE_MAX    8192
#define REPLY_MESSAGE_MAX (REPLY_ONCE_MAX - 9) /* bytes of a message, behind the frame's header */

/* What the client's table has. Zeroed at first. */
struct reply_table {
    uint64_t n_inserted, bytes; /* all that it took in since it was cleared */
    uint32_t n_blocks;          /* the core's header blocks before that */
    struct remembered {
        uint64_t id, first, before; /* the number of its first field, and the table's bytes before it */
    } recent[REPLY_REMEMBERED];
    size_t next;
};

enum reply_part {
    REPLY_WHOLE,   /* headers and trailers in one: the answer has no message */
    REPLY_HEAD,    /* the headers before a message */
    REPLY_TRAILERS /* after it */
};
/* How a block uses the client's table. */
struct reply_use {
    uint32_t n_blocks; /* of the core's, which put entries there, but do not refer to it; 0: we do not use it */
    bool clears;       /* the client keeps less than the default, and may wait for the server to say that it knows */
};
/* Writes a HEADERS frame. `room` has REPLY_MAX bytes. Returns the length. The table changes: the frame has to be sent.
 */
size_t reply_write(struct reply_table *table, const struct edge_answer *answer, struct reply_use use, uint32_t stream,
                   enum reply_part part, uint8_t *room);
/* Does so with headers that are not worth remembering. It leaves out what does not fit. */
size_t reply_write_once(const struct edge_header *headers, size_t n, struct reply_use use, uint32_t stream,
                        enum reply_part part, uint8_t room[static REPLY_ONCE_MAX]);
/* Writes a message, with gRPC's prefix, as a frame of DATA. Returns the length, HEADER_LEN + len. */
size_t reply_write_message(const uint8_t *message, size_t len, uint32_t stream, uint8_t *room);
/* Writes a WINDOW_UPDATE frame for the connection. Returns the length, REPLY_CREDIT_BYTES. */
#define REPLY_CREDIT_BYTES 13
size_t reply_write_credit(uint32_t bytes, uint8_t *room);

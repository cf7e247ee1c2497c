/* SPDX-License-Identifier: Apache-2.0 */
/* Follows the HTTP/2 frames that the server sends to a client, so that the doorstep can put its own between them. One
 * thread at a time. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed at first. */
struct outgoing {
    uint8_t header[9];
    uint8_t header_len;          /* bytes of the current frame's header that were sent */
    uint32_t payload_left;       /* bytes of the current frame that are to come */
    bool is_new;                 /* nothing of the current frame's payload was sent */
    bool in_block;               /* a header block is to be continued */
    uint32_t n_blocks;           /* header blocks that have begun */
    _Atomic uint64_t data_bytes; /* of DATA frames */
    bool has_begun;              /* the first frame, SETTINGS, is out */
    bool is_ending;              /* GOAWAY is out */
    /* The core has begun its first header block with the words that it will not refer to the client's table. It still
     * puts entries there. */
    bool leaves_table;
};

void outgoing_follow(struct outgoing *outgoing, const uint8_t *bytes, size_t len);
/* Whether another frame may be sent now. */
bool outgoing_is_between(const struct outgoing *outgoing);

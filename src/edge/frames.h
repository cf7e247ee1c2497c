/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/abuse.h"

/* A message that has come in part. */
struct upload {
    uint32_t stream;
    uint32_t left;  /* bytes that are to come, once the prefix is complete */
    uint32_t taken; /* bytes of it that the core keeps */
    uint32_t touched_ms;
    uint8_t prefix[5];
    uint8_t prefix_len; /* that have come; 0: between messages */
};

/* What a connection's client has sent so far. */
struct frames {
    uint32_t preface_left;              /* bytes */
    uint32_t header_len;                /* bytes of the current frame's header that have come */
    uint32_t payload_left;              /* bytes of the current frame that are to come */
    uint32_t block_bytes, block_frames; /* of the current header block */
    _Atomic uint32_t n_writes;          /* that have not been counted yet */
    uint32_t free_pings;
    int purse;
    int64_t paid_ms;
    /* the newest stream, the newest at the window's begin, the newest of those that are no longer new */
    uint32_t stream, window_stream, old_stream;
    int64_t window_ms;
    uint32_t n_early; /* streams opened before the server's settings were acknowledged */
    uint8_t header[9];
    bool has_settings; /* acknowledged them */
    bool is_other;     /* it isn't HTTP/2 */
    bool is_cut;       /* for who judges it */
    /* messages: of the current DATA frame, and those that wait for another */
    struct upload current;
    struct upload *uploads;
    uint32_t n_uploads, uploads_capacity;
    int64_t unfinished; /* bytes of all of them */
};

struct frames_limits {
    size_t block_bytes;       /* of a header block */
    size_t message_bytes;     /* what the server takes at most, of its servers the one that takes most */
    int64_t unfinished_bytes; /* of messages that have come in part, on the connection */
};

/* `offences` (0, 1, 2): how much less than others the client may do. */
void frames_init(struct frames *frames, int offences);
void frames_deinit(struct frames *frames);
/* The next bytes of it. Where they begin a message beyond limits->message_bytes, its length is changed in `bytes` to
 * one more than that. After anything but EDGE_ABUSE_NONE it isn't called again. */
enum edge_abuse frames_take(struct frames *frames, uint8_t *bytes, size_t len, const struct frames_limits *limits,
                            int64_t now_ms);
/* The server has sent it something. Any thread, while another takes. */
void frames_wrote(struct frames *frames);

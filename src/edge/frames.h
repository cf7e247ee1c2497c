/* SPDX-License-Identifier: Apache-2.0 */
/* Judges the HTTP/2 frames that a client sends. One thread at a time per connection. See frames.c. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/abuse.h"

/* A message that has come in part. */
struct upload {
    uint32_t stream;
    uint32_t left;       /* bytes that are to come; valid once the prefix is complete */
    uint32_t taken;      /* bytes that the core keeps */
    uint32_t touched_ms; /* when bytes of it last came */
    uint8_t prefix[5];
    uint8_t prefix_len; /* bytes of the prefix that have come; 0: between messages */
};

/* Tells which streams are older than an age, by their numbers. */
struct frames_age {
    uint32_t window_stream, old_stream; /* the newest one when the window began; the newest one that is old */
    int64_t window_ms;
};

/* What a connection's client has sent so far. */
struct frames {
    uint32_t preface_left;              /* bytes of the preface that are to come */
    uint32_t header_len;                /* bytes of the current frame's header that have come */
    uint32_t payload_left;              /* bytes of the current frame that are to come */
    uint32_t block_bytes, block_frames; /* of the current header block */
    _Atomic uint32_t n_writes;          /* by the server, not yet added to free_pings */
    uint32_t free_pings;                /* pings that the server's writes allow */
    int purse;                          /* what the client may spend; see the prices in frames.c */
    int64_t paid_ms;                    /* when it last paid */
    uint32_t stream;                    /* the newest one */
    struct frames_age quick, early;
    int n_early_resets; /* as of early_ms; falls with time */
    int64_t early_ms;
    uint32_t n_early; /* streams opened before the server's settings were acknowledged */
    uint8_t header[9];
    bool has_settings; /* the client has acknowledged the server's settings */
    bool is_other;     /* the connection is not HTTP/2 */
    bool is_cut;       /* the client was cut off; set by connections.c */
    /* messages: the one of the current DATA frame, and those that wait for another frame */
    struct upload current;
    struct upload *uploads;
    uint32_t n_uploads, uploads_capacity;
    int64_t unfinished; /* bytes of them all that the core keeps */
};

struct frames_limits {
    size_t block_bytes;       /* of a header block */
    size_t message_bytes;     /* of a message: the highest limit of the servers in the process */
    int64_t unfinished_bytes; /* of the connection's messages that have come in part */
    bool server_is_late;      /* the bytes may have waited for the server to read them */
};

/* `offences`: those of the client's address. Each divides by 4 what the client may spend at first. */
void frames_init(struct frames *frames, int offences);
void frames_deinit(struct frames *frames);
/* Judges the next bytes. Where they begin a message beyond limits->message_bytes, its length is changed in `bytes` to
 * one more than that. After a result other than EDGE_ABUSE_NONE, do not call it again. */
enum edge_abuse frames_take(struct frames *frames, uint8_t *bytes, size_t len, const struct frames_limits *limits,
                            int64_t now_ms);
/* The server has written something to the client. Any thread, also during frames_take. */
void frames_wrote(struct frames *frames);

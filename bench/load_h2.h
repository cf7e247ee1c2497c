/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/2 connection (RFC 9113) that carries unary gRPC calls, for bench_load: as cheap as it can be, and strict.
 *
 * Requests are put into one buffer, which h2_flush writes with one system call; answers are read into another and taken
 * apart where they lie. A call lives in a ring by the number of its stream; where an older call still holds the place,
 * the stream's number is skipped. So nothing is allocated but to let the ring grow, for a request that the server's
 * window for its stream does not let through, and for a message that came in more than one DATA frame.
 *
 * What a server does against the protocol ends the connection, as do GOAWAY and the end of the stream of bytes.
 *
 * Not for two threads at once. A function that returns false has put the reason into `failure`; the connection is then
 * of no use but to h2_free. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "load_hpack.h"

#define H2_REQUEST_MAX  512   /* bytes of a request's message */
#define H2_MESSAGE_MAX  65536 /* of an answer's */
#define H2_FAILURE_SIZE 256

struct h2_call {
    uint32_t id;          /* of its stream; 0: the place is free */
    uint16_t http_status; /* 0: nothing came yet */
    bool is_stalled;
    uint8_t n_messages; /* that came; never more than one */
    uint32_t n_buffered, n_sent;
    int32_t window;  /* while stalled: what the server lets us send on it */
    uint8_t *buffer; /* while stalled: all of DATA's payload; else the part of an answer's message that is there */
    /* The owner's; h2_begin leaves them to be set. */
    int32_t state;
    int64_t number, begin_us, ticket;
    const char *contradiction;
};

/* How a call ended. */
struct h2_answer {
    bool is_reset;
    uint32_t reset_code;
    const struct hpack_head *head; /* of the last header block; NULL where is_reset or a message was the last */
};

/* Called by h2_read. They may not use the connection but to look at it. */
struct h2_owner {
    void (*on_message)(void *arg, struct h2_call *call, const uint8_t *message, size_t n);
    void (*on_answer)(void *arg, struct h2_call *call, const struct h2_answer *answer);
    void *arg;
};

struct h2_settings {
    const char *path;      /* of the method */
    const char *authority; /* both: HPACK_NAME_MAX */
    int64_t timeout_ms;    /* 0: none */
    struct h2_owner owner;
};

struct h2 {
    int fd;
    bool is_ready; /* the server's SETTINGS are here: calls can begin */
    int64_t n_open;
    int64_t read_us; /* clock_mono_us() when what is handled now was read */
    char failure[H2_FAILURE_SIZE];

    struct h2_settings settings;
    struct hpack_reader *reader;
    struct hpack_request request;
    bool has_request; /* the headers are in the server's table */

    uint32_t next_id;
    uint32_t n_calls; /* places in the ring, a power of two */
    struct h2_call *calls;
    int64_t n_stalled;

    int64_t send_window;
    int64_t stream_window; /* with which a stream begins */
    int64_t streams_max;
    uint32_t table_size;
    int64_t n_unacknowledged; /* bytes of DATA that came since our last WINDOW_UPDATE */

    uint32_t block_id; /* CONTINUATION must follow; 0: none */
    uint8_t block_flags;
    size_t n_block;

    size_t in_end, out_at, out_end;
    uint8_t *in, *out, *block;
};

/* Connects a socket and waits for that; the preface is queued. `address`: HOST:PORT. To be h2_free'd in any case. */
bool h2_connect(struct h2 *h2, const char *address, const struct h2_settings *settings);
void h2_free(struct h2 *h2); /* in place */

/* Whether a call can begin now: by the server's limits, and by the room in the buffer. */
bool h2_can_begin(const struct h2 *h2);
/* Where to put the message of a new call, up to H2_REQUEST_MAX bytes; only where h2_can_begin. Then h2_commit, before
 * anything else. NULL: the numbers of streams are used up. */
uint8_t *h2_begin(struct h2 *h2, struct h2_call **ret_call);
void h2_commit(struct h2 *h2, struct h2_call *call, size_t message_len);

/* Writes what the socket takes. */
bool h2_flush(struct h2 *h2);
bool h2_is_flushed(const struct h2 *h2);
/* Reads once and handles all that is whole. */
bool h2_read(struct h2 *h2);

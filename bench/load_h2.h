/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/2 connection (RFC 9113) that carries unary gRPC calls for bench_load. It is as cheap as possible, and strict.
 *
 * Requests go into one buffer, which h2_flush writes with one system call. Answers are read into another buffer and
 * parsed in place. A call lives in a ring, at a place that its stream number determines; if an older call still holds
 * the place, the stream number is skipped. The code allocates only to grow the ring, for a request that does not fit
 * into the server's window for its stream, and for a message that comes in more than one DATA frame.
 *
 * A violation of the protocol by the server ends the connection, as do GOAWAY and the end of the TCP stream.
 *
 * Only one thread at a time may use a connection. A function that returns false has put the reason into `failure`;
 * after that, call only h2_free. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "load_hpack.h"

#define H2_REQUEST_MAX  512   /* bytes of a request's message */
#define H2_MESSAGE_MAX  65536 /* bytes of an answer's message */
#define H2_FAILURE_SIZE 256

struct h2_call {
    uint32_t id;          /* stream number; 0: the place is free */
    uint16_t http_status; /* 0: no headers yet */
    bool is_stalled;
    uint8_t n_messages; /* messages received; at most one */
    uint32_t n_buffered, n_sent;
    int32_t window;  /* while stalled: bytes that the server lets us send on the stream */
    uint8_t *buffer; /* while stalled: the whole payload of DATA; after that: the received part of the answer */
    /* These belong to the owner, who sets them after h2_begin. */
    int32_t state;
    int64_t number, begin_us, ticket;
    const char *contradiction;
};

/* How a call ended. */
struct h2_answer {
    bool is_reset;
    uint32_t reset_code;
    const struct hpack_head *head; /* the last header block; NULL if is_reset or if a message came last */
};

/* h2_read calls these. They may read the fields of the connection but must not call its functions. */
struct h2_owner {
    void (*on_message)(void *arg, struct h2_call *call, const uint8_t *message, size_t n);
    void (*on_answer)(void *arg, struct h2_call *call, const struct h2_answer *answer);
    void *arg;
};

struct h2_settings {
    const char *path;      /* the method's path, at most HPACK_NAME_MAX bytes */
    const char *authority; /* at most HPACK_NAME_MAX bytes */
    int64_t timeout_ms;    /* 0: none */
    const char *source;    /* the IPv4 address to connect from; NULL: any */
    bool is_small;         /* one of thousands: small buffers, and h2_connect does not wait for the connection */
    struct h2_owner owner;
};

struct h2 {
    int fd;
    bool is_ready; /* the server's SETTINGS have come, so calls can begin */
    int64_t n_open;
    int64_t read_us; /* clock_mono_us() at the read whose bytes we are handling */
    char failure[H2_FAILURE_SIZE];

    struct h2_settings settings;
    struct hpack_reader *reader;
    struct hpack_request request;
    bool has_request; /* the request headers are in the server's table */

    uint32_t next_id;
    uint32_t n_calls; /* places in the ring, a power of two */
    struct h2_call *calls;
    int64_t n_stalled;

    int64_t send_window;
    int64_t stream_window; /* initial window of a stream */
    int64_t streams_max;
    uint32_t table_size;
    int64_t n_unacknowledged; /* bytes of DATA received since our last WINDOW_UPDATE */

    uint32_t block_id; /* the stream whose CONTINUATION must come next; 0: none */
    uint8_t block_flags;
    size_t n_block;

    size_t in_size, out_size, in_end, out_at, out_end;
    uint8_t *in, *out, *block;
};

/* Connects a socket, waits for the connection unless is_small, and queues the preface. `address`: HOST:PORT. Call
 * h2_free even after a failure. */
bool h2_connect(struct h2 *h2, const char *address, const struct h2_settings *settings);
void h2_free(struct h2 *h2); /* in place */

/* Returns whether the server's limits and the room in the buffer allow a call to begin now. */
bool h2_can_begin(const struct h2 *h2);
/* Returns where to put the message of a new call, at most H2_REQUEST_MAX bytes. Call it only if h2_can_begin, and call
 * h2_commit next. Returns NULL if the connection has no stream numbers left. */
uint8_t *h2_begin(struct h2 *h2, struct h2_call **ret_call);
void h2_commit(struct h2 *h2, struct h2_call *call, size_t message_len);

/* Writes as much as the socket accepts. */
bool h2_flush(struct h2 *h2);
bool h2_is_flushed(const struct h2 *h2);
/* Reads once and handles all complete frames. */
bool h2_read(struct h2 *h2);

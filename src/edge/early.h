/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that the core does not see (edge/doorstep/doorstep.h), and their answers. A call is answered early, by a
 * refusal that is ready, or it is taken: its service answers it later. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A header. The texts are not terminated. */
struct edge_field {
    const char *name, *value;
    size_t name_len, value_len;
};

/* A unary call whose whole request has come. All pointers are valid until the function that gets them returns. */
struct edge_call {
    const uint8_t *message; /* the request, without gRPC's prefix */
    size_t len;
    const struct edge_field *fields; /* all headers, in the client's order */
    size_t n_fields;
    int fd; /* of the connection */
};

/* The first header of that name; NULL if there is none. */
const struct edge_field *edge_call_field(const struct edge_call *call, const char *name);

#define EDGE_ANSWER_BYTES  600
#define EDGE_ANSWER_FIELDS 5

/* An answer without a message: the trailers of a call that fails. */
struct edge_answer {
    uint64_t id;  /* of the content: answers with the same id have the same fields; 0: none */
    uint64_t tag; /* the maker's own */
    uint16_t n_fields, len;
    uint16_t starts[EDGE_ANSWER_FIELDS];
    uint16_t table_bytes; /* what the fields count in a table */
    uint8_t block[EDGE_ANSWER_BYTES];
};

/* Makes an answer of `n` fields with lower-case names, in this order; `:status` 200 is added. False: they do not fit.
 * Any thread. */
struct edge_header {
    const char *name, *value;
};
bool edge_answer_make(struct edge_answer *ret_answer, const struct edge_header *headers, size_t n);

/* The edge's part of a taken call. It lies in the service's own object, which has to stay until edge_taken_answer. */
struct edge_taken {
    int fd;
    struct cork *cork; /* of the connection */
    uint32_t stream;
    size_t promised; /* bytes of the client's window that are kept for the answer */
    /* Guarded by the connection's lock: */
    struct doorstep *doorstep; /* NULL: the client has given up the call, or the connection is gone */
    struct edge_taken *next, **self;
};

/* The answer of a taken call: a message, or the headers of an error. */
struct edge_reply {
    const uint8_t *message; /* with gRPC's prefix; NULL: an error */
    size_t len;
    const struct edge_header *head, *tail; /* headers besides content-type, and trailers besides grpc-status: 0 */
    size_t n_head, n_tail;                 /* of an error: all of them; `tail` is not used */
};
/* Answers the call, once. False: the client no longer waits. Any thread. */
bool edge_taken_answer(struct edge_taken *taken, const struct edge_reply *reply);

/* What answers calls of one method. */
struct edge_early {
    const char *path; /* "/package.Service/Method" */
    /* Returns an answer that stays valid until the thread calls it again; NULL: the call goes to the core. Must not
     * block. Any thread. */
    const struct edge_answer *(*answer)(void *arg, const struct edge_call *call);
    /* Answers with the tag, n of them, are on their way. On the same thread. */
    void (*on_answered)(void *arg, uint64_t tag, int64_t n);
    void *arg;
    /* An answer has at most this many bytes more than its request. 0: calls are not taken. A call whose answer might be
     * longer than 8 KiB is not taken. */
    size_t answer_bytes;
    int taken_max; /* calls of one connection that may be taken at a time */
    /* Takes a call that `answer` has left. NULL: the call goes to the core. A lock is held: it must neither block nor
     * answer. */
    struct edge_taken *(*take)(void *arg, const struct edge_call *call);
    /* Works on the call just taken, on the same thread. */
    void (*begin)(void *arg, struct edge_taken *taken, const struct edge_call *call);
    /* The client has given up the call, which still has to be answered. `keep` runs with a lock held, and keeps the
     * call until on_gone has run. Any thread. */
    void (*keep)(struct edge_taken *taken);
    void (*on_gone)(struct edge_taken *taken);
};

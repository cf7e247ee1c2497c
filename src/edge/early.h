/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are answered before the core sees them (edge/doorstep/doorstep.h), and their answers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A unary call whose whole request has come. */
struct edge_call {
    const uint8_t *message; /* the request, without gRPC's prefix */
    size_t len;
    const char *authorization; /* the value of that header, not terminated; NULL if absent */
    size_t authorization_len;
};

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

/* What answers calls of one method. */
struct edge_early {
    const char *path; /* "/package.Service/Method" */
    /* Returns an answer that stays valid until the thread calls it again; NULL: the call goes to the core. Must not
     * block. Any thread. */
    const struct edge_answer *(*answer)(void *arg, const struct edge_call *call);
    /* Answers with the tag, n of them, are on their way. On the same thread. */
    void (*on_answered)(void *arg, uint64_t tag, int64_t n);
    void *arg;
};

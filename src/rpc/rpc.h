/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes, shapes, metadata and TLS files, shared by the bridge's server and client; and limits and bad fields of
 * requests, which server.h and the parts of the server share.
 *
 * The bridge carries protobuf-c services over the gRPC C core. It knows no coupon.
 *   call     one RPC in flight
 *   shape    how many messages go each way
 *   status   how a call ended: a canonical code, a text, and the bytes of grpc-status-details-bin */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rpc_code.h"

/* The name of a status code, such as "NOT_FOUND"; "UNKNOWN" for a number that is not a code. A literal. */
const char *rpc_code_name(int code);

struct rpc_status {
    int code;
    const char *message; /* UTF-8, may be NULL */
    /* A serialized google.rpc.Status, sent as grpc-status-details-bin; NULL for none. */
    const void *details;
    size_t details_len;
};
/* Frees the texts of a status that rpc_client_call_wait has filled. */
void rpc_status_deinit(struct rpc_status *status);

/* How messages are compressed on the wire; the numbers are the core's. */
enum rpc_compression { RPC_COMPRESSION_NONE = 0, RPC_COMPRESSION_DEFLATE = 1, RPC_COMPRESSION_GZIP = 2 };

/* One header or trailer. The key is lower-case and does not begin with "grpc-". If it ends in "-bin", the value may be
 * any bytes; otherwise the value is printable ASCII. */
struct rpc_metadatum {
    const char *key;
    const void *value;
    size_t len;
};

/* Paths of PEM files. `certificate` holds a chain: first the certificate of `key`, then its issuers. */
struct rpc_tls {
    const char *certificate, *key;
    /* Trusted authorities. A server checks clients' certificates against them; NULL: it asks for no certificate. A
     * client checks the server's; NULL: it trusts the system's authorities. */
    const char *ca;
    /* A server with `ca` also accepts clients without a certificate. They have no name. */
    bool client_may_be_unknown;
};

/* A method with its shape, which protobuf-c's descriptors lack. The server checks it against the descriptor set. */
enum rpc_shape { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM, RPC_BIDI_STREAM };
struct rpc_method {
    const char *name; /* as in the .proto, e.g. "GetStatus" */
    enum rpc_shape shape;
};

/* --- of the server --- */

/* Limits of one method, below the server's max_message_bytes; 0: no limit of its own. A larger request is
 * RESOURCE_EXHAUSTED. */
struct rpc_limits {
    size_t message_bytes; /* of one message */
    size_t call_bytes;    /* of all messages of a client or bidi stream */
};

/* The limits of one caller; 0: no limit. */
struct rpc_caller_limits {
    double per_second; /* calls begun per second; a burst has at most one second's calls */
    int64_t in_flight;
};

/* The fields of a request that make it invalid. One refusal names at most RPC_BAD_FIELDS_MAX of them. */
#define RPC_BAD_FIELDS_MAX 16
struct rpc_bad_field {
    const char *field;   /* a path such as "coupon.name" or "tags[1]" */
    const char *problem; /* such as "is not valid UTF-8" */
};
struct rpc_bad_fields {
    struct rpc_bad_field list[RPC_BAD_FIELDS_MAX];
    size_t n;
};

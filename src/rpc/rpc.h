/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes, shapes, metadata and TLS files: shared by the bridge's server and client.
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

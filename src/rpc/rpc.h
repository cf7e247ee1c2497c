/* SPDX-License-Identifier: Apache-2.0 */
/* What server and client of the bridge share: status codes, shapes, metadata.
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

/* "OK", "NOT_FOUND", …; "UNKNOWN" for anything that is not one. */
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

/* One header or trailer. The key is lower-case and does not begin with "grpc-". The value of one that ends in "-bin"
 * may be any bytes, any other is printable ASCII. */
struct rpc_metadatum {
    const char *key;
    const void *value;
    size_t len;
};

/* PEM files. A certificate is one chain, its own first. */
struct rpc_tls {
    const char *certificate, *key;
    /* The authorities to believe. Server: those of clients' certificates; NULL: none is asked for. Client: NULL is the
     * system's. */
    const char *ca;
    /* Server with `ca`: clients without a certificate are let in too, without a name. */
    bool client_may_be_unknown;
};

/* protobuf-c's descriptors do not say which side streams: this table does. Checked against the descriptor set. */
enum rpc_shape { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM, RPC_BIDI_STREAM };
struct rpc_method {
    const char *name; /* as in the .proto, e.g. "GetStatus" */
    enum rpc_shape shape;
};

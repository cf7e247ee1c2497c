/* SPDX-License-Identifier: Apache-2.0 */
/* Headers and trailers, sent and received. A call's lock guards its `struct metadata`. */
#pragma once

#include "rpc/rpc.h"
#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

/* Headers or trailers to be sent. The room is kept for the next call. */
struct metadata {
    grpc_metadata *items;
    size_t n, capacity;
};

/* Adds a copy. False: the core does not allow the key or the value, or the key is reserved. */
bool metadata_add(struct metadata *metadata, const struct rpc_metadatum *datum);
/* Adds a reserved key, such as grpc-status-details-bin. `key` is static; takes over `value`. */
void metadata_add_reserved(struct metadata *metadata, const char *key, grpc_slice value);
/* Lets messages after these headers be compressed by that algorithm. Adds nothing for RPC_COMPRESSION_NONE. */
void metadata_add_compression(struct metadata *metadata, enum rpc_compression compression);
void metadata_clear(struct metadata *metadata);
void metadata_deinit(struct metadata *metadata);
/* The first value of a key among those received; NULL if there is none. Not NUL-terminated. */
const char *metadata_find(const grpc_metadata_array *received, const char *key, size_t *ret_len);

#define DETAILS_KEY "grpc-status-details-bin"
/* The algorithms that the bridge sends and accepts, as a bitset for the core's channel argument. */
#define COMPRESSIONS       (1 << GRPC_COMPRESS_NONE | 1 << GRPC_COMPRESS_DEFLATE | 1 << GRPC_COMPRESS_GZIP)

#define RETRY_PUSHBACK_KEY "grpc-retry-pushback-ms"

/* SPDX-License-Identifier: Apache-2.0 */
/* Headers and trailers, sent and received. A `struct metadata` belongs to one call and is guarded by that call's lock. */
#pragma once

#include "rpc/rpc.h"
#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

/* Headers or trailers that are sent; room once made is kept. */
struct metadata {
    grpc_metadata *items;
    size_t n, capacity;
};

/* Copies; false where the core would not take it, or where it is reserved. */
bool metadata_add(struct metadata *metadata, const struct rpc_metadatum *datum);
/* Of the core's own, such as grpc-status-details-bin. `key` is static; the value is owned from now on. */
void metadata_add_reserved(struct metadata *metadata, const char *key, grpc_slice value);
/* Messages sent after these headers may be compressed that way. */
void metadata_add_compression(struct metadata *metadata, enum rpc_compression compression);
void metadata_clear(struct metadata *metadata);
void metadata_deinit(struct metadata *metadata);
/* The first value of that key among those received; NULL where there is none. Not NUL-terminated. */
const char *metadata_find(const grpc_metadata_array *received, const char *key, size_t *ret_len);

#define DETAILS_KEY "grpc-status-details-bin"
/* All that this side sends and takes, for the core's channel argument. */
#define COMPRESSIONS       (1 << GRPC_COMPRESS_NONE | 1 << GRPC_COMPRESS_DEFLATE | 1 << GRPC_COMPRESS_GZIP)

#define RETRY_PUSHBACK_KEY "grpc-retry-pushback-ms"

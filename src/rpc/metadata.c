/* SPDX-License-Identifier: Apache-2.0 */
/* Headers and trailers, sent and received. */
#include <grpc/compression.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rpc/metadata.h"

#define RESERVED_PREFIX "grpc-"
/* Names the algorithm to the core's compression filter; it does not go out. */
#define COMPRESSION_KEY "grpc-internal-encoding-request"

static void append(struct metadata *metadata, grpc_slice key, grpc_slice value) {
    if (metadata->n == metadata->capacity) {
        metadata->capacity = metadata->capacity ? 2 * metadata->capacity : 4;
        metadata->items = memory_resize(metadata->items, metadata->capacity, sizeof *metadata->items);
    }
    metadata->items[metadata->n++] = (grpc_metadata){.key = key, .value = value};
}

bool metadata_add(struct metadata *metadata, const struct rpc_metadatum *datum) {
    grpc_slice key = grpc_slice_from_copied_string(datum->key);
    grpc_slice value = grpc_slice_from_copied_buffer(datum->value, datum->len);
    bool ok = strncmp(datum->key, RESERVED_PREFIX, strlen(RESERVED_PREFIX)) != 0 && grpc_header_key_is_legal(key) &&
              (grpc_is_binary_header(key) || grpc_header_nonbin_value_is_legal(value));
    if (ok) {
        append(metadata, key, value);
    } else {
        grpc_slice_unref(key);
        grpc_slice_unref(value);
    }
    return ok;
}

void metadata_add_reserved(struct metadata *metadata, const char *key, grpc_slice value) {
    append(metadata, grpc_slice_from_static_string(key), value);
}

void metadata_add_compression(struct metadata *metadata, enum rpc_compression compression) {
    const char *name = NULL;
    if (compression != RPC_COMPRESSION_NONE &&
        grpc_compression_algorithm_name((grpc_compression_algorithm)compression, &name))
        append(metadata, grpc_slice_from_static_string(COMPRESSION_KEY), grpc_slice_from_static_string(name));
}

void metadata_clear(struct metadata *metadata) {
    for (size_t i = 0; i < metadata->n; i++) {
        grpc_slice_unref(metadata->items[i].key);
        grpc_slice_unref(metadata->items[i].value);
    }
    metadata->n = 0;
}

void metadata_deinit(struct metadata *metadata) {
    metadata_clear(metadata);
    free(metadata->items);
}

const char *metadata_find(const grpc_metadata_array *received, const char *key, size_t *ret_len) {
    for (size_t i = 0; i < received->count; i++) {
        const grpc_metadata *each = &received->metadata[i];
        if (grpc_slice_str_cmp(each->key, key) == 0) {
            *ret_len = GRPC_SLICE_LENGTH(each->value);
            return (const char *)GRPC_SLICE_START_PTR(each->value);
        }
    }
    return NULL;
}

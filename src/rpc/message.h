/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf-c messages to and from the core's byte buffers. Stateless; sizes are in bytes. */
#pragma once

#include "base/arena.h"
#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An arena that held the pieces of a message with more bytes than this is not kept: pools are for what is usual. */
#define LARGE_MESSAGE_BYTES 4096

/* The serialized message, owned by the caller. */
grpc_byte_buffer *message_pack(const ProtobufCMessage *message);
bool message_is_compressed(const grpc_byte_buffer *buffer);
/* The bytes of `buffer`, decompressed, in one piece: its own where it has just one slice (so it must stay), else in
 * `arena`. */
enum message_bytes_result {
    MESSAGE_OK,
    MESSAGE_TOO_LARGE, /* more than `max` bytes */
    MESSAGE_BROKEN,    /* it can't be decompressed */
};
enum message_bytes_result message_bytes(const grpc_byte_buffer *buffer, size_t max, struct arena *arena,
                                        const uint8_t **ret_bytes, size_t *ret_len);
/* Decodes into `arena`; NULL when it can't be decoded. */
ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *descriptor, struct arena *arena,
                                 const uint8_t *bytes, size_t len);

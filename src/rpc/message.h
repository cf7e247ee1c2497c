/* SPDX-License-Identifier: Apache-2.0 */
/* Converts protobuf-c messages to and from the core's byte buffers. Stateless; sizes are in bytes. */
#pragma once

#include "base/arena.h"
#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Calls keep their arenas for later calls, but not after a message with more bytes than this. */
#define LARGE_MESSAGE_BYTES 4096

/* Serializes a message; the caller owns the buffer. */
grpc_byte_buffer *message_pack(const ProtobufCMessage *message);
bool message_is_compressed(const grpc_byte_buffer *buffer);
enum message_bytes_result {
    MESSAGE_OK,
    MESSAGE_TOO_LARGE, /* more than `max` bytes */
    MESSAGE_BROKEN,    /* it can't be decompressed */
};
/* Gives the bytes of `buffer`, decompressed and in one piece. They lie in `arena`, or in `buffer`, which must stay. */
enum message_bytes_result message_bytes(const grpc_byte_buffer *buffer, size_t max, struct arena *arena,
                                        const uint8_t **ret_bytes, size_t *ret_len);
/* Decodes a message into `arena`. NULL: it can't be decoded. */
ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *descriptor, struct arena *arena,
                                 const uint8_t *bytes, size_t len);

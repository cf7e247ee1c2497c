/* protobuf-c messages to and from the core's byte buffers. Stateless. */
#include <string.h>

#include "rpc/internal.h"

grpc_byte_buffer *message_pack(const ProtobufCMessage *message) {
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

bool message_bytes(grpc_byte_buffer *buffer, struct arena *arena, const uint8_t **ret_bytes, size_t *ret_len) {
    if (buffer->type != GRPC_BB_RAW || buffer->data.raw.compression != GRPC_COMPRESS_NONE)
        return false;
    const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
    if (slices->count == 1) {
        *ret_bytes = GRPC_SLICE_START_PTR(slices->slices[0]);
    } else {
        uint8_t *copy = arena_alloc(arena, slices->length + 1); /* never of no size */
        size_t at = 0;
        for (size_t i = 0; i < slices->count; i++) {
            memcpy(copy + at, GRPC_SLICE_START_PTR(slices->slices[i]), GRPC_SLICE_LENGTH(slices->slices[i]));
            at += GRPC_SLICE_LENGTH(slices->slices[i]);
        }
        *ret_bytes = copy;
    }
    *ret_len = slices->length;
    return true;
}

static void *alloc_in_arena(void *arena, size_t size) {
    return arena_alloc(arena, size);
}

static void free_in_arena(void *arena, void *pointer) {
    (void)arena;
    (void)pointer;
}

ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *descriptor, struct arena *arena,
                                 const uint8_t *bytes, size_t len) {
    ProtobufCAllocator allocator = {.alloc = alloc_in_arena, .free = free_in_arena, .allocator_data = arena};
    return protobuf_c_message_unpack(descriptor, &allocator, len, bytes);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Converts protobuf-c messages to and from the core's byte buffers. Stateless. */
#include <string.h>
#include <zlib.h>

#include "rpc/message.h"

grpc_byte_buffer *message_pack(const ProtobufCMessage *message) {
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static void *alloc_in_arena(void *arena, size_t size) {
    return arena_alloc(arena, size);
}

static void free_in_arena(void *arena, void *pointer) {
    (void)arena;
    (void)pointer;
}

/* --- decompression --- */

/* The parameter windowBits of zlib, which also chooses the format. */
#define WINDOW_BITS_ZLIB 15
#define WINDOW_BITS_GZIP (15 + 16)

static void *alloc_for_zlib(void *arena, unsigned items, unsigned size) {
    return arena_alloc(arena, (size_t)items * size);
}

struct inflated {
    uint8_t *bytes;
    size_t len, capacity, max;
};

/* Doubles the room, up to one byte more than is allowed: if that byte is used, there is too much. */
static void make_room(struct inflated *out, struct arena *arena, z_stream *zlib) {
    size_t capacity = out->capacity * 2 < out->max + 1 ? out->capacity * 2 : out->max + 1;
    uint8_t *grown = arena_alloc(arena, capacity);
    memcpy(grown, out->bytes, out->len);
    out->bytes = grown;
    out->capacity = capacity;
    zlib->next_out = grown + out->len;
    zlib->avail_out = (unsigned)(capacity - out->len);
}

static enum message_bytes_result inflate_slices(const grpc_slice_buffer *slices, struct arena *arena, z_stream *zlib,
                                                struct inflated *out) {
    int state = Z_OK;
    for (size_t i = 0; i < slices->count && state == Z_OK; i++) {
        zlib->next_in = GRPC_SLICE_START_PTR(slices->slices[i]);
        zlib->avail_in = (unsigned)GRPC_SLICE_LENGTH(slices->slices[i]);
        while (state == Z_OK && (zlib->avail_in > 0 || zlib->avail_out == 0)) {
            if (zlib->avail_out == 0 && out->capacity > out->max)
                return MESSAGE_TOO_LARGE;
            if (zlib->avail_out == 0)
                make_room(out, arena, zlib);
            state = inflate(zlib, Z_NO_FLUSH);
            out->len = out->capacity - zlib->avail_out;
            if (state == Z_BUF_ERROR && zlib->avail_in == 0)
                state = Z_OK; /* goes on with the next slice */
            else if (state == Z_BUF_ERROR)
                break;
        }
    }
    if (out->len > out->max)
        return MESSAGE_TOO_LARGE;
    return state == Z_STREAM_END ? MESSAGE_OK : MESSAGE_BROKEN;
}

/* Decompresses no more than `max` bytes: a kilobyte may stand for a megabyte. */
static enum message_bytes_result decompress(const grpc_byte_buffer *buffer, size_t max, struct arena *arena,
                                            const uint8_t **ret_bytes, size_t *ret_len) {
    const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
    bool is_gzip = buffer->data.raw.compression == GRPC_COMPRESS_GZIP;
    z_stream zlib = {.zalloc = alloc_for_zlib, .zfree = free_in_arena, .opaque = arena};
    if (inflateInit2(&zlib, is_gzip ? WINDOW_BITS_GZIP : WINDOW_BITS_ZLIB) != Z_OK)
        return MESSAGE_BROKEN;
    size_t capacity = 4 * slices->length + 64;
    struct inflated out = {.capacity = capacity < max + 1 ? capacity : max + 1, .max = max};
    out.bytes = zlib.next_out = arena_alloc(arena, out.capacity);
    zlib.avail_out = (unsigned)out.capacity;
    enum message_bytes_result result = inflate_slices(slices, arena, &zlib, &out);
    inflateEnd(&zlib);
    *ret_bytes = out.bytes;
    *ret_len = out.len;
    return result;
}

bool message_is_compressed(const grpc_byte_buffer *buffer) {
    return buffer->data.raw.compression != GRPC_COMPRESS_NONE;
}

enum message_bytes_result message_bytes(const grpc_byte_buffer *buffer, size_t max, struct arena *arena,
                                        const uint8_t **ret_bytes, size_t *ret_len) {
    const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
    if (message_is_compressed(buffer))
        return decompress(buffer, max, arena, ret_bytes, ret_len);
    if (slices->length > max)
        return MESSAGE_TOO_LARGE;
    if (slices->count == 1) {
        *ret_bytes = GRPC_SLICE_START_PTR(slices->slices[0]);
    } else {
        uint8_t *copy = arena_alloc(arena, slices->length + 1); /* + 1: never 0 bytes */
        size_t at = 0;
        for (size_t i = 0; i < slices->count; i++) {
            memcpy(copy + at, GRPC_SLICE_START_PTR(slices->slices[i]), GRPC_SLICE_LENGTH(slices->slices[i]));
            at += GRPC_SLICE_LENGTH(slices->slices[i]);
        }
        *ret_bytes = copy;
    }
    *ret_len = slices->length;
    return MESSAGE_OK;
}

ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *descriptor, struct arena *arena,
                                 const uint8_t *bytes, size_t len) {
    ProtobufCAllocator allocator = {.alloc = alloc_in_arena, .free = free_in_arena, .allocator_data = arena};
    return protobuf_c_message_unpack(descriptor, &allocator, len, bytes);
}

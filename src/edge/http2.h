/* SPDX-License-Identifier: Apache-2.0 */
/* What the edge's files know of HTTP/2's frames (RFC 9113). */
#pragma once

#include <stdint.h>

enum http2_type {
    TYPE_DATA,
    TYPE_HEADERS,
    TYPE_PRIORITY,
    TYPE_RST_STREAM,
    TYPE_SETTINGS,
    TYPE_PUSH_PROMISE,
    TYPE_PING,
    TYPE_GOAWAY,
    TYPE_WINDOW_UPDATE,
    TYPE_CONTINUATION,
};
enum http2_flag {
    FLAG_END_STREAM = 0x1,
    FLAG_ACK = 0x1,
    FLAG_END_HEADERS = 0x4,
    FLAG_PADDED = 0x8,
    FLAG_PRIORITY = 0x20,
};

/* Offsets in a frame's header, which begins with the length. */
#define TYPE_AT     3
#define FLAGS_AT    4
#define STREAM_AT   5
#define HEADER_LEN  9

#define PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PREFACE_LEN (sizeof PREFACE - 1)
/* Of a gRPC message: whether it is compressed, and its length. */
#define PREFIX_LEN 5

static inline uint32_t get_u32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline void put_u32(uint8_t *bytes, uint32_t value) {
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

static inline void put_frame_header(uint8_t *bytes, uint32_t len, enum http2_type type, int flags, uint32_t stream) {
    put_u32(bytes, len << 8);
    bytes[TYPE_AT] = (uint8_t)type;
    bytes[FLAGS_AT] = (uint8_t)flags;
    put_u32(bytes + STREAM_AT, stream);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of protobuf's wire format that bench_load needs: walking over fields, and writing numbers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PB_VARINT_MAX  10 /* bytes of the longest varint */
#define PB_DECIMAL_MAX 20 /* bytes of the longest number as text */

/* The bytes that are left to read. */
struct pb {
    const uint8_t *at, *end;
};

enum pb_type { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

struct pb_field {
    uint64_t number;
    enum pb_type type;
    uint64_t varint; /* PB_VARINT */
    struct pb bytes; /* PB_BYTES */
};

static inline bool pb_varint(struct pb *in, uint64_t *ret_value) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && in->at < in->end; shift += 7) {
        uint8_t byte = *in->at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static inline bool pb_skip(struct pb *in, uint64_t n) {
    if (n > (uint64_t)(in->end - in->at))
        return false;
    in->at += n;
    return true;
}

/* Reads the next field. Returns false if it is malformed. Call it only while bytes are left. */
static inline bool pb_next(struct pb *in, struct pb_field *ret_field) {
    uint64_t tag, n;
    if (!pb_varint(in, &tag) || tag >> 3 == 0)
        return false;
    ret_field->number = tag >> 3;
    switch (tag & 7) {
    case PB_VARINT:
        ret_field->type = PB_VARINT;
        return pb_varint(in, &ret_field->varint);
    case PB_FIXED64:
        ret_field->type = PB_FIXED64;
        return pb_skip(in, 8);
    case PB_FIXED32:
        ret_field->type = PB_FIXED32;
        return pb_skip(in, 4);
    case PB_BYTES:
        if (!pb_varint(in, &n))
            return false;
        ret_field->type = PB_BYTES;
        ret_field->bytes.at = in->at;
        if (!pb_skip(in, n))
            return false;
        ret_field->bytes.end = in->at;
        return true;
    default: /* groups, which no message that we read has */
        return false;
    }
}

static inline uint8_t *pb_put_varint(uint8_t *out, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

/* Writes a number as text, without a NUL. */
static inline uint8_t *pb_put_decimal(uint8_t *out, int64_t number) {
    uint8_t digits[PB_DECIMAL_MAX], *first = digits + sizeof digits;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do
        *--first = (uint8_t)('0' + left % 10);
    while (left /= 10);
    if (number < 0)
        *out++ = '-';
    while (first < digits + sizeof digits)
        *out++ = *first++;
    return out;
}

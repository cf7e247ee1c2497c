/* SPDX-License-Identifier: Apache-2.0 */
#include "trace/context.h"

#include <string.h>

/* 00-TRACE_ID-SPAN_ID-FLAGS */
enum { AT_TRACE_ID = 3, AT_SPAN_ID = 36, AT_FLAGS = 53, LEN = 55 };

#define FLAG_SAMPLED 1
/* A later version may append more, after another dash. This one can't be. */
#define VERSION_NONE 0xff
/* How many bits of a trace id are random in all tracers. */
#define RANDOM_BITS 56

/* Returns a lower-case digit's value, or -1. */
static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static char *write_hex(char *text, const uint8_t *bytes, size_t n) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *text++ = digits[bytes[i] >> 4];
        *text++ = digits[bytes[i] & 15];
    }
    return text;
}

static bool is_zero(const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            return false;
    return true;
}

bool trace_context_read(const char *text, size_t len, struct trace_context *ret_context) {
    struct trace_context context;
    uint8_t version, flags;
    if (len < LEN || !read_hex(text, &version, 1) || version == VERSION_NONE)
        return false;
    if (len > LEN && (version == 0 || text[LEN] != '-'))
        return false;
    if (text[AT_TRACE_ID - 1] != '-' || text[AT_SPAN_ID - 1] != '-' || text[AT_FLAGS - 1] != '-' ||
        !read_hex(text + AT_TRACE_ID, context.trace_id, TRACE_ID_BYTES) ||
        !read_hex(text + AT_SPAN_ID, context.span_id, SPAN_ID_BYTES) || !read_hex(text + AT_FLAGS, &flags, 1) ||
        is_zero(context.trace_id, TRACE_ID_BYTES) || is_zero(context.span_id, SPAN_ID_BYTES))
        return false;
    context.is_sampled = flags & FLAG_SAMPLED;
    *ret_context = context;
    return true;
}

char *trace_context_write(const struct trace_context *context, char text[static TRACEPARENT_SIZE]) {
    memcpy(text, "00-", AT_TRACE_ID);
    *write_hex(text + AT_TRACE_ID, context->trace_id, TRACE_ID_BYTES) = '-';
    *write_hex(text + AT_SPAN_ID, context->span_id, SPAN_ID_BYTES) = '-';
    memcpy(text + AT_FLAGS, context->is_sampled ? "01" : "00", 3);
    return text;
}

bool trace_is_chosen(const uint8_t trace_id[static TRACE_ID_BYTES], double ratio) {
    uint64_t random = 0;
    for (size_t i = TRACE_ID_BYTES - RANDOM_BITS / 8; i < TRACE_ID_BYTES; i++)
        random = random << 8 | trace_id[i];
    /* An integer: a double would round the largest ids up. */
    uint64_t least = (uint64_t)((1 - ratio) * (double)(UINT64_C(1) << RANDOM_BITS));
    return random >= least;
}

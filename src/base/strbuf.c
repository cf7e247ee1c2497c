/* SPDX-License-Identifier: Apache-2.0 */
/* A growing string; see strbuf.h. */
#include "base/strbuf.h"
#include "base/memory.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 64

/* Makes room for `more` bytes and a NUL. */
static void reserve(struct strbuf *buf, size_t more) {
    if (more >= SIZE_MAX / 2 - buf->len)
        abort(); /* a defect: such a size comes from an overflow */
    size_t needed = buf->len + more + 1;
    if (needed <= buf->cap)
        return;
    size_t cap = buf->cap ? buf->cap : FIRST_CAPACITY;
    while (cap < needed)
        cap *= 2;
    char *data = memory_resize(buf->data, cap, 1);
    buf->data = data;
    buf->cap = cap;
}

void strbuf_deinit(struct strbuf *buf) {
    if (!buf)
        return;
    free(buf->data);
    *buf = (struct strbuf){0};
}

void strbuf_add(struct strbuf *buf, const char *bytes, size_t len) {
    reserve(buf, len);
    if (len > 0)
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void strbuf_puts(struct strbuf *buf, const char *text) {
    strbuf_add(buf, text, strlen(text));
}

void strbuf_printf(struct strbuf *buf, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0)
        abort(); /* a defect: the format is invalid */
    reserve(buf, (size_t)len);
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
    va_end(again);
    buf->len += (size_t)len;
}

/* Returns the length in bytes of the UTF-8 character at `p`. Returns 0 if it is invalid: a stray byte, overlong, a
 * surrogate, too large, or cut off. */
static size_t utf8_length(const unsigned char *p) {
    if (p[0] < 0x80)
        return 1;
    /* Some first bytes restrict the range of the second byte (RFC 3629, section 4). */
    unsigned char low = 0x80, high = 0xBF;
    size_t len;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        len = 2;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        len = 3;
        low = p[0] == 0xE0 ? 0xA0 : low;
        high = p[0] == 0xED ? 0x9F : high;
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        len = 4;
        low = p[0] == 0xF0 ? 0x90 : low;
        high = p[0] == 0xF4 ? 0x8F : high;
    } else {
        return 0;
    }
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

/* Adds the escape of `c` if a JSON string needs one. Returns whether it did. */
static bool add_escaped(struct strbuf *buf, unsigned char c) {
    switch (c) {
    case '"':
        strbuf_puts(buf, "\\\"");
        return true;
    case '\\':
        strbuf_puts(buf, "\\\\");
        return true;
    case '\n':
        strbuf_puts(buf, "\\n");
        return true;
    case '\r':
        strbuf_puts(buf, "\\r");
        return true;
    case '\t':
        strbuf_puts(buf, "\\t");
        return true;
    default:
        if (c >= ' ' && c != 0x7F)
            return false;
        strbuf_printf(buf, "\\u%04x", (unsigned)c);
        return true;
    }
}

void strbuf_json(struct strbuf *buf, const char *text) {
    strbuf_add(buf, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        size_t len = utf8_length(p);
        if (len == 0)
            strbuf_puts(buf, "\xEF\xBF\xBD"); /* U+FFFD, since JSON must be valid UTF-8 */
        else if (len > 1 || !add_escaped(buf, *p))
            strbuf_add(buf, (const char *)p, len);
        p += len > 0 ? len : 1;
    }
    strbuf_add(buf, "\"", 1);
}

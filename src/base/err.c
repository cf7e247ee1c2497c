/* SPDX-License-Identifier: Apache-2.0 */
/* Errors; see err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Returns the length of the character at `at`, or 0 if the bytes are not UTF-8. */
static size_t character_len(const unsigned char *at) {
    if (*at < 0x80)
        return 1;
    size_t len = *at >= 0xF0 ? 4 : *at >= 0xE0 ? 3 : 2;
    if (*at < 0xC2 || *at > 0xF4 || (*at == 0xE0 && at[1] < 0xA0) || (*at == 0xED && at[1] > 0x9F) ||
        (*at == 0xF0 && at[1] < 0x90) || (*at == 0xF4 && at[1] > 0x8F))
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return len;
}

/* Replaces control characters by spaces, and bytes that are not UTF-8 by '?', e.g. in a message that Postgres sends in
 * its own encoding before it knows ours. Removes spaces at the end. */
static void flatten(char *text) {
    size_t len = strlen(text);
    for (size_t i = 0; i < len;) {
        size_t n = character_len((unsigned char *)text + i);
        if (n == 0)
            text[i] = '?';
        else if ((unsigned char)text[i] < ' ')
            text[i] = ' ';
        i += n ? n : 1;
    }
    while (len > 0 && text[len - 1] == ' ')
        text[--len] = '\0';
}

/* Removes an incomplete character at the end of a text that was cut, since gRPC and JSON need valid UTF-8. */
static void drop_half_character(char *text, size_t len) {
    size_t start = len;
    while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t needed = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (len - (start - 1) < needed)
        text[start - 1] = '\0';
}

bool err_set(struct err *err, enum err_code code, enum backend backend, const char *format, ...) {
    if (!err)
        return false;

    /* The arguments may point into *err, e.g. if a caller adds a prefix to the text of an error. */
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (wanted < 0)
        text[0] = '\0';
    else if ((size_t)wanted >= sizeof text)
        drop_half_character(text, sizeof text - 1);
    flatten(text);

    *err = (struct err){.code = code, .backend = backend, .retriable = code == ERR_UNAVAILABLE};
    memcpy(err->text, text, sizeof text);
    return false;
}

const char *backend_name(enum backend backend) {
    switch (backend) {
    case BACKEND_POSTGRES:
        return "postgres";
    case BACKEND_REDIS:
        return "redis";
    case BACKEND_KAFKA:
        return "kafka";
    case BACKEND_NONE:
        break;
    }
    return "";
}

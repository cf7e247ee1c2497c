/* SPDX-License-Identifier: Apache-2.0 */
/* A growing string. A zeroed strbuf is empty, and its `data` is NULL. After the first addition, `data` ends with a
 * NUL. */
#pragma once

#include <stddef.h>

struct strbuf {
    char *data;
    size_t len, cap;
};

void strbuf_deinit(struct strbuf *buf); /* frees the data; the strbuf is empty afterwards */
void strbuf_add(struct strbuf *buf, const char *bytes, size_t len);
void strbuf_puts(struct strbuf *buf, const char *text);
void strbuf_printf(struct strbuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds `text` as a JSON string, quotes included. */
void strbuf_json(struct strbuf *buf, const char *text);

/* SPDX-License-Identifier: Apache-2.0 */
/* logfmt lines on stderr; see log.h.
 *
 * Each line is built in memory and written by one write(2). Writes to a pipe are atomic up to PIPE_BUF (4096 bytes), so
 * long values are cut to keep lines of different threads and processes apart. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"

#define LINES_PER_WINDOW 10
#define WINDOW_US        US_PER_S
/* The greatest length of a value in bytes. A line with a few such values is still shorter than PIPE_BUF. */
#define VALUE_MAX 1000

static atomic_int minimum_level = LOG_LEVEL_INFO;

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_WARN] = "warn", [LOG_LEVEL_ERROR] = "error"};

void log_set_level(enum log_level level) {
    atomic_store_explicit(&minimum_level, (int)level, memory_order_relaxed);
}

bool log_level_parse(const char *text, enum log_level *ret) {
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* Returns true if this place may log now. When a window begins, a race of two threads may admit a line too many or too
 * few. */
static bool admit(struct log_site *site) {
    int64_t now_us = clock_mono_us();
    int64_t start_us = atomic_load_explicit(&site->window_start_us, memory_order_relaxed);
    if (now_us - start_us >= WINDOW_US && atomic_compare_exchange_strong(&site->window_start_us, &start_us, now_us))
        atomic_store(&site->in_window, 0);
    if (atomic_load(&site->in_window) < LINES_PER_WINDOW && atomic_fetch_add(&site->in_window, 1) < LINES_PER_WINDOW)
        return true;
    atomic_fetch_add(&site->suppressed, 1);
    return false;
}

/* Returns true if the value is empty, or has a character that would end it early or be invisible in a terminal. Other
 * values stay unquoted, since bare words are easier to search for. */
static bool needs_quotes(const char *text) {
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c <= ' ' || c >= 0x7F || c == '"' || c == '\\' || c == '=')
            return true;
    }
    return text[0] == '\0';
}

static void add_text(struct strbuf *line, const char *text) {
    char cut[VALUE_MAX + sizeof "…"];
    if (strnlen(text, VALUE_MAX + 1) > VALUE_MAX) {
        memcpy(cut, text, VALUE_MAX);
        memcpy(cut + VALUE_MAX, "…", sizeof "…");
        text = cut;
    }
    if (needs_quotes(text))
        strbuf_json(line, text);
    else
        strbuf_puts(line, text);
}

static void add_field(struct strbuf *line, const struct log_field *field) {
    strbuf_printf(line, " %s=", field->key);
    switch (field->type) {
    case LOG_FIELD_STR:
        add_text(line, field->as.str ? field->as.str : "null");
        break;
    case LOG_FIELD_INT:
        strbuf_printf(line, "%" PRId64, field->as.integer);
        break;
    case LOG_FIELD_NUM:
        strbuf_printf(line, "%.9g", field->as.number);
        break;
    }
}

static void write_line(const struct strbuf *line) {
    ssize_t written;
    do
        written = write(STDERR_FILENO, line->data, line->len);
    while (written < 0 && errno == EINTR);
    /* Ignore other errors: there is no other place to report them. */
}

void log_event(struct log_site *site, enum log_level level, const char *event, const struct log_field *fields,
               size_t n_fields) {
    if ((int)level < atomic_load_explicit(&minimum_level, memory_order_relaxed) || !admit(site))
        return;

    int saved_errno = errno; /* the caller may still need errno */
    char time[28];
    struct strbuf line = {0};
    strbuf_printf(&line, "ts=%s level=%s event=%s", clock_format(clock_wall_us(), time), level_names[level], event);
    for (size_t i = 0; i < n_fields; i++)
        add_field(&line, &fields[i]);
    int suppressed = atomic_exchange(&site->suppressed, 0);
    if (suppressed > 0)
        strbuf_printf(&line, " suppressed=%d", suppressed);
    strbuf_add(&line, "\n", 1);
    write_line(&line);
    strbuf_deinit(&line);
    errno = saved_errno;
}

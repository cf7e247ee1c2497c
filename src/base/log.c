/* SPDX-License-Identifier: Apache-2.0 */
/* logfmt lines on stderr; see log.h.
 *
 * A line is built in memory and written by one write(2): lines of threads, and of processes that share the pipe, do not
 * mix as long as they are below PIPE_BUF (4096), which is why long values are cut. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"

#define LINES_PER_WINDOW 10
#define WINDOW_US        US_PER_S
/* A few values of this size still make a line shorter than PIPE_BUF. */
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

/* Whether this place may log now. Two threads at the turn of a window may let a line too many or too few through. */
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

/* Bare words are easiest to search for; anything that would end the value early or hide in a terminal is quoted. */
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
    /* There is nobody to tell that stderr is gone or full. */
}

void log_event(struct log_site *site, enum log_level level, const char *event, const struct log_field *fields,
               size_t n_fields) {
    if ((int)level < atomic_load_explicit(&minimum_level, memory_order_relaxed) || !admit(site))
        return;

    int saved_errno = errno; /* logging must not spoil what the caller is about to look at */
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Lines on stderr; see log.h.
 *
 * Each line is built in memory and written by one write(2). Writes to a pipe are atomic up to PIPE_BUF (4096 bytes), so
 * long values are cut to keep lines of different threads and processes apart.
 *
 * Between log_writer_start and log_writer_stop, lines go into `queue`, and the writer's thread writes them. A pipe that
 * nobody reads, a terminal that was stopped, or a disk that hangs blocks that thread only. A line is lost when the
 * queue is full, or when its write fails. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/thread.h"

#define LINES_PER_WINDOW 10
#define WINDOW_US        US_PER_S
/* The greatest length of a value in bytes. A line with a few such values is still shorter than PIPE_BUF. */
#define VALUE_MAX 1000
/* The queue's bytes: more than 1000 lines. */
#define QUEUE_MAX (256 << 10)
/* The bytes of a reason before an abort. */
#define LAST_WORDS_MAX 900
/* How long log_writer_stop waits for the lines in the queue. */
#define STOP_US US_PER_S
/* How often the writer tries to say how many lines were lost. */
#define TELL_US US_PER_S

static atomic_int minimum_level = LOG_LEVEL_INFO;
static atomic_int current_format = LOG_FORMAT_LOGFMT;

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_WARN] = "warn", [LOG_LEVEL_ERROR] = "error"};

void log_set_level(enum log_level level) {
    atomic_store_explicit(&minimum_level, (int)level, memory_order_relaxed);
}

void log_set_format(enum log_format format) {
    atomic_store_explicit(&current_format, (int)format, memory_order_relaxed);
}

static bool is_json(void) {
    return atomic_load_explicit(&current_format, memory_order_relaxed) == LOG_FORMAT_JSON;
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

static void add_text(struct strbuf *line, bool json, const char *text) {
    char cut[VALUE_MAX + sizeof "…"];
    if (strnlen(text, VALUE_MAX + 1) > VALUE_MAX) {
        memcpy(cut, text, VALUE_MAX);
        memcpy(cut + VALUE_MAX, "…", sizeof "…");
        text = cut;
    }
    if (json || needs_quotes(text))
        strbuf_json(line, text);
    else
        strbuf_puts(line, text);
}

static void add_field(struct strbuf *line, bool json, const struct log_field *field) {
    bool quotes = json && field->type == LOG_FIELD_NUM && !isfinite(field->as.number);
    strbuf_printf(line, json ? "%s\"%s\":%s" : "%s%s=%s",
                  line->len == 0 ? json ? "{" : ""
                  : json         ? ","
                                 : " ",
                  field->key, quotes ? "\"" : "");
    switch (field->type) {
    case LOG_FIELD_STR:
        add_text(line, json, field->as.str ? field->as.str : "null");
        break;
    case LOG_FIELD_INT:
        strbuf_printf(line, "%" PRId64, field->as.integer);
        break;
    case LOG_FIELD_NUM:
        strbuf_printf(line, quotes ? "%g\"" : "%.9g", field->as.number);
        break;
    }
}

/* Makes a line of a time, a level, an event and these fields. `suppressed`: lines that were dropped before it. */
static void make_line(struct strbuf *line, enum log_level level, const char *event, const struct log_field *fields,
                      size_t n_fields, int suppressed) {
    char time[28];
    bool json = is_json();
    const struct log_field first[] = {LOG_STR("ts", clock_format(clock_wall_us(), time)),
                                      LOG_STR("level", level_names[level]), LOG_STR("event", event)};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        add_field(line, json, &first[i]);
    for (size_t i = 0; i < n_fields; i++)
        add_field(line, json, &fields[i]);
    if (suppressed > 0)
        add_field(line, json, &LOG_INT("suppressed", suppressed));
    strbuf_puts(line, json ? "}\n" : "\n");
}

/* --- writing --- */

static _Atomic int64_t n_lost; /* since the process began */

/* Writes all bytes, for as long as that takes. Returns the number of bytes that were written before it failed. */
static size_t write_bytes(const char *bytes, size_t len) {
    size_t at = 0;
    while (at < len) {
        ssize_t written = write(STDERR_FILENO, bytes + at, len - at);
        struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
        if (written >= 0)
            at += (size_t)written;
        else if (errno == EAGAIN) /* another process has made the pipe non-blocking */
            poll(&room, 1, -1);
        else if (errno != EINTR)
            break;
    }
    return at;
}

/* Writes one line. False: it is lost. The calls do not overlap, apart from those without a writer. */
static bool write_line(const char *line, size_t len) {
    static atomic_bool is_torn; /* the last line was written in part */
    if (atomic_load(&is_torn) && write_bytes("\n", 1) != 1)
        return false;
    size_t written = write_bytes(line, len);
    atomic_store(&is_torn, written > 0 && written < len);
    return written == len;
}

/* --- the queue and the writer's thread --- */

static struct {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t change;
    enum {
        LOG_DIRECT, /* no writer runs: each thread writes its lines itself */
        LOG_QUEUED,
        LOG_CLOSED, /* the writer was left alone with lines that it could not write */
    } mode;
    struct strbuf lines;
    int64_t n_dropped; /* after `lines`, since the queue was full */
    bool is_stopping, has_ended;
    pthread_t thread;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool tell_lost(int64_t lost) {
    struct strbuf line = {0};
    make_line(&line, LOG_LEVEL_WARN, "log.lost", &LOG_INT("lines", lost), 1, 0);
    bool ok = write_line(line.data, line.len);
    strbuf_deinit(&line);
    return ok;
}

/* Writes the lines. *lost counts the lines that were lost and not told yet; a line that says so goes first. */
static void write_lines(const struct strbuf *lines, int64_t *lost) {
    for (const char *line = lines->data, *end = line + lines->len, *next; line < end; line = next) {
        next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1; /* each line ends with the only one in it */
        if (*lost > 0 && tell_lost(*lost))
            *lost = 0;
        if (*lost == 0 && write_line(line, (size_t)(next - line)))
            continue;
        (*lost)++;
        atomic_fetch_add(&n_lost, 1);
    }
}

/* Waits for lines. If `untold`, returns after TELL_US at the latest. Lock held. */
static void wait_for_lines(bool untold) {
    struct timespec until = clock_mono_timespec(clock_mono_us() + TELL_US);
    int timed_out = 0;
    while (queue.lines.len == 0 && queue.n_dropped == 0 && !queue.is_stopping && !timed_out)
        timed_out = untold ? pthread_cond_timedwait(&queue.change, &queue.lock, &until)
                           : pthread_cond_wait(&queue.change, &queue.lock);
}

static void *run_writer(void *arg) {
    int64_t lost = 0;
    pthread_mutex_lock(&queue.lock);
    for (;;) {
        wait_for_lines(lost > 0);
        bool is_last = queue.is_stopping;
        struct strbuf lines = queue.lines;
        int64_t dropped = queue.n_dropped;
        queue.lines = (struct strbuf){0};
        queue.n_dropped = 0;
        pthread_mutex_unlock(&queue.lock);
        if (lines.len > 0)
            write_lines(&lines, &lost);
        strbuf_deinit(&lines);
        lost += dropped;
        if (lost > 0 && tell_lost(lost))
            lost = 0;
        pthread_mutex_lock(&queue.lock);
        if (is_last && queue.lines.len == 0)
            break;
    }
    queue.has_ended = true;
    queue.mode = LOG_DIRECT; /* from now on nobody reads the queue */
    pthread_cond_signal(&queue.change);
    pthread_mutex_unlock(&queue.lock);
    return arg;
}

bool log_writer_start(struct err *err) {
    thread_cond_init_monotonic(&queue.change);
    queue.is_stopping = queue.has_ended = false;
    if (!thread_start("log", run_writer, NULL, &queue.thread, err))
        return false;
    pthread_mutex_lock(&queue.lock);
    queue.mode = LOG_QUEUED;
    pthread_mutex_unlock(&queue.lock);
    return true;
}

void log_writer_stop(void) {
    struct timespec until = clock_mono_timespec(clock_mono_us() + STOP_US);
    int timed_out = 0;
    pthread_mutex_lock(&queue.lock);
    bool runs = queue.mode == LOG_QUEUED && !queue.is_stopping; /* another thread may be stopping it */
    if (runs) {
        queue.is_stopping = true;
        pthread_cond_signal(&queue.change);
    }
    while (runs && !queue.has_ended && !timed_out)
        timed_out = pthread_cond_timedwait(&queue.change, &queue.lock, &until);
    if (runs && !queue.has_ended)
        queue.mode = LOG_CLOSED;
    bool ended = queue.has_ended;
    pthread_mutex_unlock(&queue.lock);
    if (runs && ended)
        pthread_join(queue.thread, NULL);
    else if (runs)
        pthread_detach(queue.thread);
}

int64_t log_lost_lines(void) {
    return atomic_load(&n_lost);
}

/* Queues the line, or writes it if no writer runs. */
static void put_line(const struct strbuf *line) {
    pthread_mutex_lock(&queue.lock);
    bool is_direct = queue.mode == LOG_DIRECT;
    bool fits = queue.mode == LOG_QUEUED && queue.n_dropped == 0 && queue.lines.len + line->len <= QUEUE_MAX;
    if (fits)
        strbuf_add(&queue.lines, line->data, line->len);
    else if (!is_direct)
        queue.n_dropped++;
    if (fits)
        pthread_cond_signal(&queue.change);
    pthread_mutex_unlock(&queue.lock);
    if (!fits && !(is_direct && write_line(line->data, line->len)))
        atomic_fetch_add(&n_lost, 1);
}

void log_last_words(const char *event, const char *reason) {
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    char text[LAST_WORDS_MAX], line[LAST_WORDS_MAX + 100];
    size_t len = 0;
    for (; reason && reason[len] && len < sizeof text - 1; len++)
        text[len] =
            reason[len] < ' ' || reason[len] > '~' || reason[len] == '"' || reason[len] == '\\' ? '?' : reason[len];
    text[len] = '\0';
    if (is_json())
        snprintf(line, sizeof line, "{\"level\":\"error\",\"event\":\"%s\",\"reason\":\"%s\"}\n", event, text);
    else
        snprintf(line, sizeof line, "level=error event=%s reason=\"%s\"\n", event, text);
    if (poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) && write(STDERR_FILENO, line, strlen(line)) < 0)
        return; /* there is no other place to report it */
}

void log_event(struct log_site *site, enum log_level level, const char *event, const struct log_field *fields,
               size_t n_fields) {
    if ((int)level < atomic_load_explicit(&minimum_level, memory_order_relaxed) || !admit(site))
        return;

    int saved_errno = errno; /* the caller may still need errno */
    struct strbuf line = {0};
    make_line(&line, level, event, fields, n_fields, atomic_exchange(&site->suppressed, 0));
    put_line(&line);
    strbuf_deinit(&line);
    errno = saved_errno;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Structured logs on stderr: one line per event, as logfmt (ts=… level=… event=… key=value …) or as a JSON object
 * ({"ts":"…","level":"…","event":"…","key":value,…}).
 *
 *   log_warn("relay.produce_failed", LOG_STR("stream", name), LOG_INT("lane", lane));
 *
 * Each place in the code may log 10 lines per second. Further lines are dropped, and the place's next line reports
 * their number as suppressed=N. Values are quoted and escaped as needed; keys are literals. Any thread. Libraries below
 * flow/ return errors and do not log. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };
enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

struct log_field {
    const char *key;
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_NUM } type;
    union {
        const char *str;
        int64_t integer;
        double number;
    } as;
};

#define LOG_STR(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_STR, .as.str = (v)})
#define LOG_INT(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_INT, .as.integer = (int64_t)(v)})
#define LOG_NUM(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_NUM, .as.number = (v)})
/* The field error=, with the error's text. */
#define LOG_ERR(e) LOG_STR("error", (e)->text)

/* The state of one place in the code; static, so zeroed. */
struct log_site {
    _Atomic int64_t window_start_us;
    atomic_int in_window;
    atomic_int suppressed;
};

/* Sets the lowest level that is logged. The default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
/* Sets the format. The default is LOG_FORMAT_LOGFMT. */
void log_set_format(enum log_format format);

/* Starts the thread that writes the log. From then on, no caller of the log waits for stderr. While stderr takes
 * nothing, up to 256 KiB of lines wait; further ones are lost, as are lines whose write fails. When stderr takes lines
 * again, the event log.lost says how many were lost. Without the thread, callers write their lines themselves. */
bool log_writer_start(struct err *err);
/* Ends the thread after it has written the waiting lines, or after 1 s. In the latter case, later lines are lost. Does
 * nothing if no thread runs. For the end of the process. */
void log_writer_stop(void);
/* Lines lost since the process began. */
int64_t log_lost_lines(void);
/* Writes a line without a thread, a lock or memory, unless stderr would block. For the line before an abort. `reason`
 * may be NULL. */
void log_last_words(const char *event, const char *reason);

void log_event(struct log_site *site, enum log_level level, const char *event, const struct log_field *fields,
               size_t n_fields);

#define LOG_AT(level, event, ...)                                                                                      \
    do {                                                                                                               \
        static struct log_site log_site_here;                                                                          \
        const struct log_field log_fields_here[] = {__VA_ARGS__};                                                      \
        log_event(&log_site_here, level, event, log_fields_here, sizeof log_fields_here / sizeof log_fields_here[0]);  \
    } while (0)
/* Each needs at least one field. */
#define log_debug(event, ...) LOG_AT(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  LOG_AT(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  LOG_AT(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_LEVEL_ERROR, event, __VA_ARGS__)

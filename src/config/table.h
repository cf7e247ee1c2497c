/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the settings, for what reads them (config.c) and what explains them (config_help.c). */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum setting_type {
    TYPE_INT,          /* min to max, in `unit` */
    TYPE_BOOL,         /* true or false */
    TYPE_TEXT,         /* min to max bytes long */
    TYPE_PATH,         /* of a file that is read at the start, and when it changes; max bytes long */
    TYPE_LISTEN,       /* HOST:PORT */
    TYPE_REDIS_URL,    /* redis://[[user]:password@][host[:port]][/db] */
    TYPE_TOPIC_PREFIX, /* what Kafka allows in a name; min to max bytes long */
    TYPE_TOPIC_STRATEGY,
    TYPE_LOG_LEVEL,
};

/* Whether a change counts while couponsd runs. */
enum setting_change {
    CHANGE_RESTART, /* no: couponsd has to be restarted */
    CHANGE_FILE,    /* the setting does not change, but the file that it names is read again when the file changes */
};

struct setting {
    const char *key;
    enum setting_type type;
    enum setting_change change;
    const char *unit;   /* of TYPE_INT; NULL for a plain number */
    int64_t min, max;   /* of TYPE_INT the value, of texts the length in bytes */
    const char *preset; /* the default, as a user would write it */
    const char *text;   /* what it is for, one line */
    size_t offset;      /* of its field in struct config */
};

extern const struct setting settings[];
extern const size_t n_settings;

#define SETTING_EXPECTATION_SIZE 120
/* "at a restart", "when the file changes". */
const char *setting_change_text(const struct setting *setting);
/* "1 to 64", "10 to 10000 ms", "HOST:PORT, …": what would be right. Returns `text`, or a constant. */
const char *setting_expectation(const struct setting *setting, char text[static SETTING_EXPECTATION_SIZE]);

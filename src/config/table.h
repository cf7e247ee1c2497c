/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings, which config.c reads settings by, and help.c prints. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum setting_type {
    TYPE_INT,          /* min to max, in `unit` */
    TYPE_RATIO,        /* a double from 0 to 1 */
    TYPE_BOOL,         /* true or false */
    TYPE_TEXT,         /* min to max bytes long */
    TYPE_PATH,         /* the path of a file, which is read at the start and when it changes; max bytes long */
    TYPE_LISTEN,       /* HOST:PORT */
    TYPE_REDIS_URL,    /* as config/redis_url.h has it */
    TYPE_TOPIC_PREFIX, /* characters that Kafka allows in a name; min to max bytes long */
    TYPE_CHOICE,       /* one of `choices`; the field is an enum, which numbers them from 0 */
};

#define CHOICES_MAX 5

/* When a change takes effect. Every row says it, so 0 has no meaning. */
enum setting_change {
    CHANGE_RESTART = 1, /* at the next start of couponsd */
    CHANGE_FILE,        /* at the next start; but the file that the setting names is also read when that changes */
    CHANGE_CONNECTION,  /* at the next start; but the file that the setting names is read for each new connection */
    CHANGE_SECRET,      /* at the next start; but file:PATH is read again for each new connection */
    CHANGE_NEVER,       /* the first start on a database fixes the value, and another one is refused */
    CHANGE_MIGRATION,   /* as CHANGE_NEVER; after a migration of the topics, the value has no effect */
};

struct setting {
    const char *key;
    enum setting_type type;
    enum setting_change change;
    const char *unit;                 /* TYPE_INT: the unit, or NULL for a plain number */
    int64_t min, max;                 /* TYPE_INT: the range of values; texts: the range of lengths in bytes */
    const char *preset;               /* the default, as a user would write it */
    const char *text;                 /* the help text, one line */
    const char *choices[CHOICES_MAX]; /* TYPE_CHOICE; ends with NULL */
    size_t offset;                    /* of the setting's field in struct config */
};

extern const struct setting settings[];
extern const size_t n_settings;

#define SETTING_EXPECTATION_SIZE 120
/* Returns when a change takes effect, such as "at a restart". */
const char *setting_change_text(const struct setting *setting);
/* Describes the accepted values: "1 to 64", "10 to 10000 ms", "HOST:PORT (IPv6 in brackets)". Returns `text`. */
const char *setting_expectation(const struct setting *setting, char text[static SETTING_EXPECTATION_SIZE]);

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

struct setting {
    const char *key;
    enum setting_type type;
    const char *unit; /* of TYPE_INT, "" for a plain number */
    int64_t min, max;
    const char *preset; /* the default */
    const char *text;
    size_t offset; /* in struct config */
};

extern const struct setting settings[];
extern const size_t n_settings;

#define SETTING_EXPECTATION_SIZE 120
/* "1 to 64", "10 to 10000 ms", "HOST:PORT, …": what would be right. Returns `text`, or a constant. */
const char *setting_expectation(const struct setting *setting, char text[static SETTING_EXPECTATION_SIZE]);

/* SPDX-License-Identifier: Apache-2.0 */
/* Properties whose values come from files: a new handle gets what the files have now, and a handle that lives gets a
 * new name and password of SASL (PLAIN and SCRAM; librdkafka can change nothing else of a handle). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/secret_file.h"
#include "store/kafka_internal.h"

/* How often the files are read. */
#define REFRESH_US US_PER_S

/* Returns the path, or NULL. */
static const char *file_of(const struct kafka_options *options, const char *name) {
    static const char prefix[] = "kafka.";
    for (size_t i = 0; i < options->n_files; i++)
        if (strncmp(options->files[i].name, prefix, sizeof prefix - 1) == 0 &&
            strcmp(options->files[i].name + sizeof prefix - 1, name) == 0)
            return options->files[i].value;
    return NULL;
}

/* Returns a copy of what the property's file has now, or NULL if it has no file or the file has no text. */
static char *read_file_of(const struct kafka_options *options, const char *name) {
    const char *path = file_of(options, name), *why;
    return path ? secret_file_read(path, &why, NULL) : NULL;
}

char *kafka_value_of(const struct kafka_options *options, const struct property *property) {
    char *text = read_file_of(options, property->name);
    return text ? text : memory_copy(property->value);
}

/* Returns a copy, or NULL if the property is not set. */
static char *current(const struct kafka_options *options, const char *name) {
    const struct property *property = kafka_property_of(options, name);
    return property ? kafka_value_of(options, property) : NULL;
}

void kafka_secrets_init(struct kafka_secrets *secrets, const struct kafka_options *options) {
    *secrets = (struct kafka_secrets){.due_us = INT64_MAX};
    if (!file_of(options, "sasl.username") && !file_of(options, "sasl.password"))
        return;
    secrets->user = current(options, "sasl.username");
    secrets->password = current(options, "sasl.password");
    if (secrets->user && secrets->password)
        secrets->due_us = clock_mono_us() + REFRESH_US;
}

void kafka_secrets_deinit(struct kafka_secrets *secrets) {
    free(secrets->user);
    free(secrets->password);
}

/* Replaces *text by what the file has, if that differs. Returns whether it did. */
static bool renew(const struct kafka_options *options, const char *name, char **text) {
    char *have = read_file_of(options, name);
    if (!have || strcmp(have, *text) == 0) {
        free(have);
        return false;
    }
    free(*text);
    *text = have;
    return true;
}

void kafka_secrets_refresh(struct kafka_secrets *secrets, const struct kafka_options *options, rd_kafka_t *rk) {
    int64_t now_us = clock_mono_us();
    if (now_us < secrets->due_us)
        return;
    secrets->due_us = now_us + REFRESH_US;
    bool is_new = renew(options, "sasl.username", &secrets->user);
    is_new |= renew(options, "sasl.password", &secrets->password);
    if (is_new) /* librdkafka refuses only NULL */
        rd_kafka_error_destroy(rd_kafka_sasl_set_credentials(rk, secrets->user, secrets->password));
}

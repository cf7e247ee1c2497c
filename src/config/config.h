/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of couponsd. One table (table.c) holds each setting's key, type, unit, range, default and help text. The
 * readers of all sources, --help and docs/reference/settings.md use this table.
 *
 * The sources, of which a later one overrides an earlier one:
 *
 *   1. the defaults
 *   2. the INI file: a section for each prefix ([grpc] listen = …), or whole keys before the first section
 *   3. the environment: COUPONSD_SET_GRPC_LISTEN=…
 *   4. --set key=value, in the order given
 *
 * An error names the place (FILE:LINE, the variable, or --set), the key, and what is expected. Errors never repeat a
 * value that may be secret, i.e. a text or Redis's URL.
 *
 * A value of the form file:PATH is read from that file, without the line breaks at its end. The files of postgres.url,
 * and of Redis's URL, users and passwords, are read again for each new connection; those of kafka.sasl.username and
 * kafka.sasl.password every second. Any kafka.NAME that is not in the table is passed to librdkafka as a property. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "base/property.h"

struct config;

enum topic_strategy { TOPIC_STRATEGY_KEY, TOPIC_STRATEGY_PER_COUPON };

/* Checks that need a backend's library. The caller supplies them, so that the settings depend on no backend. Each
 * returns false and sets *err if the value is wrong. A NULL check accepts every value. */
struct config_checks {
    bool (*postgres_url)(const char *url, struct err *err);
    bool (*kafka_property)(const char *name, const char *value, struct err *err);
    bool (*together)(const struct config *config, struct err *err); /* all settings */
};

/* Field names follow the keys: grpc.max_message_bytes is grpc_max_message_bytes. The config owns the strings. */
struct config {
    const struct config_checks *checks;

    char *grpc_listen; /* HOST:PORT */
    int64_t grpc_pollers;
    int64_t grpc_max_message_bytes;
    int64_t grpc_max_concurrent_streams;
    int64_t grpc_max_metadata_bytes;
    int64_t grpc_max_connection_age_ms;                             /* 0: no limit */
    int64_t grpc_keepalive_ms;                                      /* 0: no limit */
    int64_t grpc_max_address_waiting;                               /* 0: no limit */
    int64_t grpc_max_connections, grpc_max_in_flight;               /* 0: no limit */
    int64_t grpc_caller_requests_per_s, grpc_caller_in_flight;      /* 0: no limit */
    char *grpc_tls_certificate, *grpc_tls_key, *grpc_tls_client_ca; /* "": none */
    bool grpc_tls_client_optional, grpc_plaintext_anywhere;
    char *access_callers, *access_admins, *access_observers, *access_tokens;
    char *http_listen;
    char *http_tls_certificate, *http_tls_key; /* "": none */
    bool http_console;

    char *postgres_url;
    int64_t postgres_connect_timeout_s;
    int64_t postgres_statement_timeout_ms;
    char *redis_url; /* config/redis_url.h has the forms; config_finish adds the next two to it */
    char *redis_username, *redis_password;
    char *redis_sentinel_username, *redis_sentinel_password;                     /* "": none */
    char *redis_tls_ca, *redis_tls_certificate, *redis_tls_key, *redis_tls_name; /* "": none */
    int64_t redis_timeout_ms;
    char *kafka_brokers;
    int64_t kafka_partitions;
    int64_t kafka_replication_factor;
    char *kafka_topic_prefix;
    enum topic_strategy kafka_topic_strategy;
    int64_t kafka_coupon_partitions;
    struct property *kafka_properties;
    size_t n_kafka_properties;
    struct property *files; /* of settings given as file:PATH, key and path (config_file_of) */
    size_t n_files;

    int64_t flow_lanes;       /* fixed by the first start on a database */
    int64_t flow_queue_size;  /* of each stage */
    int64_t flow_patience_ms; /* 0: no limit */

    int64_t gate_batch_max;
    int64_t gate_cache_ms;
    int64_t gate_winners_max; /* 0: keep no sets */
    int64_t admit_workers;
    int64_t admit_batch_max;
    int64_t admit_retry_ms;
    int64_t status_batch_max;
    int64_t watch_poll_ms;
    int64_t watch_max;
    bool relay_run;
    int64_t relay_batch_max;
    int64_t relay_in_flight_max;
    int64_t relay_poll_ms;
    int64_t outbox_rotate_ms;
    bool issue_run;
    int64_t issue_workers;
    int64_t issue_batch_max;
    int64_t issue_dead_letters_max;
    bool complete_run;
    int64_t complete_batch_max;
    int64_t reconcile_interval_ms;
    int64_t reconcile_stale_ms; /* the reconciler resends a ticket that stays unissued for longer */

    int64_t server_startup_wait_ms; /* how long the start waits for Postgres */
    int64_t server_drain_ms;
    char *trace_endpoint, *trace_headers; /* "": none */
    double trace_ratio;
    int64_t trace_max_per_s;
    enum log_level log_level;
    enum log_format log_format;
};

/* Sets the defaults. `checks` must outlive the config. */
void config_init(struct config *config, const struct config_checks *checks);
void config_deinit(struct config *config);
/* Reads an INI file. */
bool config_read_file(struct config *config, const char *path, struct err *err);
/* Reads the variables COUPONSD_SET_… of `environment`, an array like environ. */
bool config_read_environment(struct config *config, char *const *environment, struct err *err);
/* Sets one setting. `assignment` is "key=value". */
bool config_set(struct config *config, const char *assignment, struct err *err);
/* Returns the path of a setting that was given as file:PATH, or NULL. */
const char *config_file_of(const struct config *config, const char *key);
/* Checks settings against each other, e.g. a batch against its queue, and adds Redis's credentials to its URL. Call it
 * after all sources were read. */
bool config_finish(struct config *config, struct err *err);
/* Checks that the files which settings name can be read. Every start and --check-config do. */
bool config_check_files(struct config *config, struct err *err);

/* Prints the table with key, range, default and help text: as --help shows it, as docs/reference/settings.md, as an
 * example file in which every line is a comment, or as the entries of couponsd.ini(5). */
enum config_format { CONFIG_TEXT, CONFIG_MARKDOWN, CONFIG_INI, CONFIG_MAN };
void config_help(FILE *out, enum config_format format);
/* Parses "text", "markdown", "ini" or "man". Returns false for any other name. */
bool config_format_named(const char *name, enum config_format *ret_format);

/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of couponsd: one table (config_table.c) gives each its key, type, unit, range, default and text; the
 * file reader, --set, --help and docs/reference/settings.md all come from it.
 *
 * Sources, later ones win: the defaults, the file (INI, a section per prefix: [grpc] listen = …; top-level keys before
 * any section), the environment (COUPONSD_SET_GRPC_LISTEN=…), --set key=value in the order given. An unknown key, a bad
 * value or a value out of range is refused with where it stands (FILE:LINE, the variable or --set), its name, and what
 * would be right. Values that may be secret (texts and Redis's URL) are never repeated.
 *
 * A text given as file:PATH is read from that file, without the line break at its end. Any kafka.NAME that is not in
 * the table is a property of librdkafka. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "base/property.h"

enum topic_strategy { TOPIC_STRATEGY_KEY, TOPIC_STRATEGY_PER_COUPON };

/* Checks that need a backend's library. They are given to the settings, which depend on no backend. A NULL check lets
 * everything pass. Each returns false and says in *err what is wrong. */
struct config_checks {
    bool (*postgres_url)(const char *url, struct err *err);
    bool (*kafka_property)(const char *name, const char *value, struct err *err);
};

/* Field names follow the keys: grpc.max_message_bytes is grpc_max_message_bytes. Strings are owned by the config. */
struct config {
    const struct config_checks *checks;

    char *grpc_listen; /* HOST:PORT */
    int64_t grpc_pollers;
    int64_t grpc_max_message_bytes;
    int64_t grpc_max_concurrent_streams;
    int64_t grpc_max_metadata_bytes;
    int64_t grpc_max_connection_age_ms;                             /* 0: no limit */
    int64_t grpc_max_connections, grpc_max_in_flight;               /* 0: no limit */
    int64_t grpc_caller_requests_per_s, grpc_caller_in_flight;      /* 0: no limit */
    char *grpc_tls_certificate, *grpc_tls_key, *grpc_tls_client_ca; /* "" where there is none */
    bool grpc_tls_client_optional, grpc_plaintext_anywhere;
    char *access_callers, *access_admins, *access_observers, *access_tokens;
    char *http_listen;

    char *postgres_url;
    int64_t postgres_connect_timeout_s;
    int64_t postgres_statement_timeout_ms;
    char *redis_url; /* redis://[user:password@]host:port/db; config_finish puts the next two into it */
    char *redis_username, *redis_password;
    int64_t redis_timeout_ms;
    char *kafka_brokers;
    int64_t kafka_partitions;
    int64_t kafka_replication_factor;
    char *kafka_topic_prefix;
    enum topic_strategy kafka_topic_strategy;
    int64_t kafka_coupon_partitions;
    struct property *kafka_properties;
    size_t n_kafka_properties;

    int64_t flow_lanes;       /* fixed for a database by whoever starts first */
    int64_t flow_queue_size;  /* of each stage */
    int64_t flow_patience_ms; /* 0: room is the only bound */

    int64_t gate_batch_max;
    int64_t gate_cache_ms;
    int64_t gate_winners_max; /* 0: no sets are kept */
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
    int64_t reconcile_stale_ms; /* an accepted ticket unissued for longer is an alarm */

    int64_t server_startup_wait_ms; /* retries of unreachable servers at start */
    int64_t server_drain_ms;
    enum log_level log_level;
};

/* The defaults. `checks` must outlive the config. */
void config_init(struct config *config, const struct config_checks *checks);
void config_deinit(struct config *config);
/* Reads an INI file over what is there. */
bool config_read_file(struct config *config, const char *path, struct err *err);
/* Every variable COUPONSD_SET_… of `environment`, which is like environ. */
bool config_read_environment(struct config *config, char *const *environment, struct err *err);
/* "key=value". */
bool config_set(struct config *config, const char *assignment, struct err *err);
/* After all sources were read: checks what no single setting shows, e.g. a batch larger than its queue, and puts
 * Redis's credentials into its URL. */
bool config_finish(struct config *config, struct err *err);

/* The table for people: key, range, default, text; for --help, docs/reference/settings.md, as an example file (every line a
 * comment), or as the entries of couponsd.ini(5). */
enum config_format { CONFIG_TEXT, CONFIG_MARKDOWN, CONFIG_INI, CONFIG_MAN };
void config_help(FILE *out, enum config_format format);
/* "text", "markdown", "ini", "man"; false where it is none of these. */
bool config_format_named(const char *name, enum config_format *ret_format);

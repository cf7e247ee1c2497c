/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that only the kafka_*.c files share. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "store/kafka.h"

/* Sets one property. Fails with ERR_NOT_FOUND if librdkafka does not know it, and with ERR_INVALID if it refuses the
 * value. */
bool kafka_set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *err);
/* Sets the properties that producer, consumer and admin have in common, and those of options->properties. The opaque of
 * an rd_kafka_t, if set, must point to a struct whose first member is a copy of the options: the log callback reads
 * them, and the handle may outlive its owner (kafka_destroy). */
bool kafka_common_conf(const struct kafka_options *options, rd_kafka_conf_t *conf, struct err *err);
/* Sets these, and the properties of handles that read: what a transaction has not (yet) committed is read as well, and
 * new topics are looked for every 5 s, or more often if has_coupon_topics. */
bool kafka_reader_conf(const struct kafka_options *options, rd_kafka_conf_t *conf, struct err *err);
/* Returns the property of that name in options->properties, or NULL. */
const struct property *kafka_property_of(const struct kafka_options *options, const char *name);
/* Returns a copy of the property's value: what its file has now, or the value that it had at the start. */
char *kafka_value_of(const struct kafka_options *options, const struct property *property);
/* The name and password of SASL that a handle has. Not safe for several threads at once. */
struct kafka_secrets {
    char *user, *password;
    int64_t due_us; /* when the files are read again; INT64_MAX: never, since they do not come from files */
};
/* Call it before kafka_common_conf, so that a change in between is seen. */
void kafka_secrets_init(struct kafka_secrets *secrets, const struct kafka_options *options);
void kafka_secrets_deinit(struct kafka_secrets *secrets);
/* Gives the handle a name and password that have changed in their files. Reads the files once a second; call it at
 * least that often. Connections that are open stay open. */
void kafka_secrets_refresh(struct kafka_secrets *secrets, const struct kafka_options *options, rd_kafka_t *rk);
/* Makes a handle, which then owns the configuration; on failure the caller still owns it. */
rd_kafka_t *kafka_handle(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct err *err);
/* Checks a consumer's or producer's complete configuration against couponsd's own limits. */
bool kafka_check_limits(const rd_kafka_conf_t *conf, struct err *err);
/* The same for a consumer's heartbeats. A producer has none. */
bool kafka_check_heartbeat(const rd_kafka_conf_t *conf, struct err *err);
/* Makes a handle of this kind and frees it. `options->brokers` is NULL, so that it does not connect. */
bool kafka_producer_check(const struct kafka_options *options, enum stream stream, struct err *err);
bool kafka_consumer_check(const struct kafka_options *options, enum stream stream, struct err *err);
/* Writes the regular expression that consumers subscribe to, which matches every topic of the stream. */
void kafka_topic_pattern(const struct kafka_options *options, enum stream stream,
                         char ret_pattern[static 2 * KAFKA_TOPIC_MAX]);
/* Converts an error's code. ERR_UNAVAILABLE, which is retriable, stands for all errors that a retry may repair. */
enum err_code kafka_err_code(rd_kafka_resp_err_t error);
/* Describes an error. `topic` and `text` may be NULL. */
struct kafka_failure kafka_failure_of(rd_kafka_resp_err_t error, const char *topic, const char *text);
/* Sets the offset of each element to its partition's oldest (RD_KAFKA_OFFSET_BEGINNING) or next (RD_KAFKA_OFFSET_END)
 * offset, or to that of the first message that is not older than `which`, in ms since 1970 (-1: there is none), by one
 * request per broker. Asks again for partitions without a leader until timeout_ms have passed. Fails if some offsets
 * are still unknown; these are -1. */
bool kafka_list_offsets(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int64_t which, int timeout_ms,
                        struct err *err);
/* Frees a handle. Returns false if librdkafka does not finish within 2 s (2.0.2 may hang if a topic was deleted a
 * moment ago). The handle's threads then run until the process ends, and the caller must not free the handle's
 * opaque. */
bool kafka_destroy(rd_kafka_t *rk);

/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the kafka_*.c files alone. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "store/kafka.h"

bool kafka_set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *err);
/* What producer, consumer and admin have in common, and the properties passed on. The opaque of an rd_kafka_t, where
 * set, must point to a struct whose first member is a `struct kafka_options`: a copy, for kafka_destroy's sake. */
bool kafka_common_conf(const struct kafka_options *options, rd_kafka_conf_t *conf, struct err *err);
/* What consumers subscribe to: a regular expression for every topic of the stream. */
void kafka_topic_pattern(const struct kafka_options *options, enum stream stream,
                         char ret_pattern[static 2 * KAFKA_TOPIC_MAX]);
/* The error's kind, for the caller to know whether to try again. */
enum err_code kafka_err_code(rd_kafka_resp_err_t error);
/* Sets offset of each element to the oldest (RD_KAFKA_OFFSET_BEGINNING) or the next (RD_KAFKA_OFFSET_END) of its
 * partition, in one request per broker; a partition without a leader is asked for again until the time is over. False:
 * some did not come, their offset is -1. */
bool kafka_list_ends(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int64_t which, int timeout_ms,
                     struct err *err);
/* Frees a handle. False: librdkafka does not come back (2.0.2 may hang where a topic was deleted a moment ago); the
 * handle's threads then stay until the process ends, and so must what its opaque points to. */
bool kafka_destroy(rd_kafka_t *rk);

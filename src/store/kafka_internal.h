/* Shared by the kafka_*.c files alone. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "store/kafka.h"

bool kafka_set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *err);
/* What producer, consumer and admin have in common. The opaque of an rd_kafka_t, where set, must point to a struct
 * whose first member is a `const struct kafka_options *`. */
bool kafka_common_conf(const struct kafka_options *options, rd_kafka_conf_t *conf, struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* A Kafka in the test's process: librdkafka's mock cluster. It has no rights, deletes no topic and knows
 * no time of a message. A topic that a client asks for comes into being, so a test that needs a missing topic lets the
 * broker report it as missing (rd_kafka_mock_topic_set_error). */
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdbool.h>

#include "store/kafka.h"

/* Requests, for rd_kafka_mock_push_request_errors. */
enum {
    API_PRODUCE = 0,
    API_LIST_OFFSETS = 2,
    API_OFFSET_COMMIT = 8,
    API_OFFSET_FETCH = 9,
    API_FIND_COORDINATOR = 10,
    API_INIT_PRODUCER_ID = 22,
};

#define REQUESTED_V1 "t-outside.coupon.publish.requested.v1"
#define PUBLISHED_V1 "t-inside.coupon.published.v1"

struct mock_kafka {
    rd_kafka_mock_cluster_t *cluster;
    struct kafka_options options; /* to connect to it; the prefix of topics is "t-" */
    rd_kafka_t *rk;
};

void mock_kafka_init(struct mock_kafka *mock, int brokers);
void mock_kafka_deinit(struct mock_kafka *mock);
void mock_kafka_make_topic(struct mock_kafka *mock, const char *topic, int partitions);
/* Appends a message with the key "k" to the partition, and waits until it is there. */
void mock_kafka_append(struct mock_kafka *mock, const char *topic, int32_t partition, const char *value);
/* Appends the marker of a transaction's end: an offset that holds no message. For a Kafka of one broker. */
void mock_kafka_append_marker(struct mock_kafka *mock, const char *topic, int32_t partition);
/* Returns the offset that the group has committed for a partition; -1: none. */
int64_t mock_kafka_committed(struct mock_kafka *mock, const char *group, const char *topic, int32_t partition);

/* Loops with it: while (mock_kafka_waits(&until_us)). `until_us` is 0 at first. Fails the test after 20 s. */
bool mock_kafka_waits(int64_t *until_us);

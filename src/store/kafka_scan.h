/* SPDX-License-Identifier: Apache-2.0 */
/* Reads partitions from a time to their ends, for checks. Joins no consumer group and commits no offset. */
#pragma once

#include "store/kafka.h"

struct kafka_span {
    const char *topic; /* must exist */
    int32_t partition;
    /* Filled: the oldest offset there is, where reading began, where the partition ended then, and what was reached. */
    int64_t low, start, end, next;
};
struct kafka_scan {
    struct kafka_span *spans;
    size_t n;
    int64_t since_us; /* reading begins at the first message that is not older; wall clock */
    int timeout_ms;
    /* Called for each message, and with NULL where none has come for a moment. False: stop. */
    bool (*on_message)(void *arg, const struct kafka_message *message);
    void *arg;
};
/* Reads all spans until they end, the time is over, or `on_message` returns false. A span with next < end was not read
 * to its end. Blocks its thread. */
bool kafka_scan(const struct kafka_options *options, const struct kafka_scan *scan, struct err *err);

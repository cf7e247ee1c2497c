/* SPDX-License-Identifier: Apache-2.0 */
/* Reads partitions from a point in time to their ends, for checks. Joins no consumer group and commits no offset. */
#pragma once

#include "store/kafka.h"

struct kafka_span {
    const char *topic; /* must exist */
    int32_t partition;
    /* out: offsets */
    int64_t low;   /* the oldest message when the scan began */
    int64_t start; /* where the scan began */
    int64_t end;   /* the partition's end when the scan began */
    int64_t next;  /* where the scan stopped */
};
struct kafka_scan {
    struct kafka_span *spans;
    size_t n;
    int64_t since_us; /* the scan begins at the first message that is not older; wall clock */
    int timeout_ms;
    /* Called for each message, and with NULL if no message arrives for 100 ms. Returns false to stop the scan. */
    bool (*on_message)(void *arg, const struct kafka_message *message);
    void *arg;
};
/* Reads all spans until they end, timeout_ms have passed, or on_message returns false. A span with next < end was not
 * read to its end. Blocks its thread. */
bool kafka_scan(const struct kafka_options *options, const struct kafka_scan *scan, struct err *err);

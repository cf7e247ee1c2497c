/* Reading partitions from a time to their ends, beside all consumer groups; no offset is committed. For checks. */
#pragma once

#include "store/kafka.h"

struct kafka_span {
    const char *topic; /* must exist */
    int32_t partition;
    /* Filled: the oldest offset there is, where reading began, where the partition ended then, and what was reached. */
    int64_t low, start, end, next;
};
/* Reads all spans until they end, the time is over, or `on_message` returns false; it is called with NULL where nothing
 * has come for a moment. A span with next < end was not read to its end. `since_us`: begins at the first message that
 * is not older. */
bool kafka_scan(const struct kafka_options *options, struct kafka_span *spans, size_t n, int64_t since_us,
                int timeout_ms, bool (*on_message)(void *arg, const struct kafka_message *message), void *arg,
                struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* Logs and counts what a Kafka client reports, e.g. that it may not read a topic. librdkafka repeats reports for as
 * long as the cause lasts, so one kind of error is logged once in 10 s. One thread per struct. */
#pragma once

#include "base/metrics.h"
#include "store/kafka.h"

struct kafka_errors {
    const char *stage;
    struct metric *total;
    const char *logged; /* the name of the last error logged; NULL: none */
    int64_t logged_us;  /* monotonic */
};

void kafka_errors_init(struct kafka_errors *errors, const char *stage);
/* Counts a failure. If a line is due, logs event=kafka.error stage=... kind=... error=.... */
void kafka_errors_note(struct kafka_errors *errors, const struct kafka_failure *failure);

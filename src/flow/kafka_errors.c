/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/kafka_errors.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define REPEAT_US (10 * US_PER_S)

void kafka_errors_init(struct kafka_errors *errors, const char *stage) {
    char labels[64];
    snprintf(labels, sizeof labels, "stage=\"%s\"", stage);
    *errors = (struct kafka_errors){
        .stage = stage,
        .total =
            metrics_counter("couponsd_kafka_errors_total",
                            "Errors that Kafka's clients report, and messages that could not be delivered.", labels),
    };
}

void kafka_errors_note(struct kafka_errors *errors, const struct kafka_failure *failure) {
    int64_t now_us = clock_mono_us();
    metric_add(errors->total, 1);
    bool same = errors->logged && strcmp(errors->logged, failure->name) == 0;
    if (same && now_us - errors->logged_us < REPEAT_US)
        return;
    errors->logged = failure->name;
    errors->logged_us = now_us;
    log_warn("kafka.error", LOG_STR("stage", errors->stage), LOG_STR("kind", failure->name), LOG_ERR(&failure->err));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/kafka_trouble.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define REPEAT_US (10 * US_PER_S)

void kafka_trouble_init(struct kafka_trouble *trouble, const char *stage) {
    char labels[64];
    snprintf(labels, sizeof labels, "stage=\"%s\"", stage);
    *trouble = (struct kafka_trouble){
        .stage = stage,
        .errors =
            metrics_counter("couponsd_kafka_errors_total",
                            "Errors that Kafka's clients report, and messages that could not be delivered.", labels),
    };
}

void kafka_trouble_note(struct kafka_trouble *trouble, const struct kafka_failure *failure) {
    int64_t now_us = clock_mono_us();
    metric_add(trouble->errors, 1);
    bool same = trouble->logged && strcmp(trouble->logged, failure->name) == 0;
    if (same && now_us - trouble->logged_us < REPEAT_US)
        return;
    trouble->logged = failure->name;
    trouble->logged_us = now_us;
    log_warn("kafka.error", LOG_STR("stage", trouble->stage), LOG_STR("kind", failure->name), LOG_ERR(&failure->err));
}

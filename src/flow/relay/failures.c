/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/relay/failures.h"

#include "base/clock.h"
#include "base/log.h"

#define PAUSE_MIN_US (250 * US_PER_MS)
#define PAUSE_MAX_US (10 * US_PER_S)
/* The first limit of a request's size is librdkafka's default. If the broker takes only less, the relay halves it. An
 * event alone fits into the last limit. */
#define BATCH_BYTES     1000000
#define BATCH_BYTES_MIN 4096

void relay_failures_init(struct relay_failures *failures, const char *stage) {
    *failures = (struct relay_failures){0};
    kafka_errors_init(&failures->kafka_errors, stage);
}

void relay_pause_begin(struct relay_pause *pause) {
    pause->due_us = clock_mono_us() + pause->next_us;
    pause->next_us = pause->next_us ? 2 * pause->next_us : PAUSE_MIN_US;
    if (pause->next_us > PAUSE_MAX_US)
        pause->next_us = PAUSE_MAX_US;
}

bool relay_pause_is_over(const struct relay_pause *pause) {
    return clock_mono_us() >= pause->due_us;
}

bool relay_failures_learn(struct relay_failures *failures) {
    int bytes = failures->batch_bytes ? failures->batch_bytes : BATCH_BYTES;
    if (failures->last.is_too_large && bytes > BATCH_BYTES_MIN) {
        failures->batch_bytes = bytes / 2 > BATCH_BYTES_MIN ? bytes / 2 : BATCH_BYTES_MIN;
        log_warn("relay.smaller_requests", LOG_STR("stage", failures->kafka_errors.stage),
                 LOG_INT("bytes", failures->batch_bytes),
                 LOG_STR("reason", "the topic's max.message.bytes is smaller than the request was"));
        return true;
    }
    if (failures->last.is_out_of_time)
        failures->own_clock = !failures->own_clock;
    return false;
}

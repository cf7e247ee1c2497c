/* SPDX-License-Identifier: Apache-2.0 */
/* What a relay learns from messages that Kafka does not take: how the next producer shall send, and when it is due.
 *
 * A producer whose messages can't be delivered is replaced at once. If its successor fares no better, the pauses before
 * the next ones double, from 250 ms to 10 s, until Kafka acknowledges a message. Only the relay's thread uses this. */
#pragma once

#include "flow/kafka_errors.h"

struct relay_failures {
    struct kafka_failure last; /* the cause of the last rewind */
    struct kafka_errors kafka_errors;
    int64_t pause_us; /* before the producer after the next one; 0: Kafka acknowledges messages */
    int64_t due_us;   /* when the next producer is due; monotonic */
    /* As in struct kafka_acks. */
    int batch_bytes;
    bool own_clock;
};

/* `stage` names the relay in the log, and must outlive this. */
void relay_failures_init(struct relay_failures *failures, const char *stage);
/* Draws the conclusions from `last` for the next producer: smaller requests, the other clock, or a pause. */
void relay_failures_learn(struct relay_failures *failures);
bool relay_failures_is_due(const struct relay_failures *failures);

/* SPDX-License-Identifier: Apache-2.0 */
/* What a relay learns from messages that Kafka does not take: how the next producer should send, and which lanes pause.
 *
 * A producer whose messages can't be delivered is replaced at once. The lane of such a message is sent again at once,
 * too. If the message fails again, the pauses of its lane double, from 250 ms to 10 s, until Kafka acknowledges it; the
 * other lanes go on. A producer that fails as a whole pauses likewise. Only the relay's thread uses this. */
#pragma once

#include "flow/kafka_errors.h"

struct relay_pause {
    int64_t next_us; /* how long the next pause is; 0: there was no failure */
    int64_t due_us;  /* the end of this pause; monotonic */
};
void relay_pause_begin(struct relay_pause *pause);
bool relay_pause_is_over(const struct relay_pause *pause);

struct relay_failures {
    struct kafka_failure last; /* the cause of the last rewind */
    struct kafka_errors kafka_errors;
    struct relay_pause pause; /* before the next producer, after one that failed as a whole */
    /* As in struct kafka_acks. */
    int batch_bytes;
    bool own_clock;
};

/* `stage` names the relay in the log, and must outlive this. */
void relay_failures_init(struct relay_failures *failures, const char *stage);
/* Draws the conclusions from `last` for the next producer: smaller requests or the other clock. Returns false if a
 * repeat without a pause is of no use, since nothing has changed. */
bool relay_failures_learn(struct relay_failures *failures);

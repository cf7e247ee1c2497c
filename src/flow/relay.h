/* SPDX-License-Identifier: Apache-2.0 */
/* Steps 4 and 6, relay: from an outbox stream to its Kafka topic. Each stream has one thread and one connection. The
 * relay owns lanes by session locks on that connection. It reads the events behind the last id that it has read of
 * each lane, produces them, and moves the lane's cursor once Kafka has acknowledged all events up to there. Reading,
 * producing and acknowledging overlap.
 *
 * Sending an event twice is harmless, since its ticket decides. After a lost connection, a failed message or a fatal
 * error of the producer, the relay therefore goes back to the cursors.
 *
 * The topic depends on kafka.topic_strategy:
 *
 *   - key: the version of the shared topic that the lane is at. Lanes move to another version one at a time
 *     (flow/relay/lane_move.h).
 *   - per_coupon: the coupon's own topic, which the relay creates if it is missing. If Kafka does not allow that,
 *     the shared topic, which consumers read as well. */
#pragma once

#include "flow/context.h"

struct relay;

/* Starts the relay of one stream. */
bool relay_start(struct context *context, enum stream stream, struct relay **ret_relay, struct err *err);
/* Wakes the relay, since events may have been appended. Any thread; cheap. NULL is fine: other processes relay. After a
 * read that has found few events, the relay waits a few milliseconds before it reads again.
 *
 * `more_follow` means that the caller's next batch begins at once. The relay then gathers a few batches, for up to
 * relay.poll_ms. */
void relay_wake(struct relay *relay, bool more_follow);
/* Makes the relay look whether its topics exist, and create those that do not. Any thread; NULL is fine. */
void relay_check_topics(struct relay *relay);
/* Waits up to 3 s for outstanding acknowledgements, stores the cursors a last time, and frees the relay. NULL is
 * fine. */
void relay_stop(struct relay *relay);

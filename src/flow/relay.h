/* Steps 4 and 6, relay: from an outbox stream to its Kafka topic. One thread and connection per stream; it owns lanes
 * by session locks on that connection, reads what lies behind each lane's last read id, produces it, and moves the
 * lane's cursor once Kafka has acknowledged everything up to there. Reading, producing and acknowledging overlap.
 *
 * Sent twice is harmless (the ticket decides), so every doubt is resolved by going back to the cursor: a lost
 * connection, a failed message, a producer that is done for.
 *
 * Where to: with kafka.topic_strategy = key to the version of the shared topic that the lane is at; lanes move to
 * another version one at a time (flow/lane_move.h). With per_coupon to the coupon's own topic, which is created where
 * it is missing; should Kafka not allow it, to the shared one, which consumers read as well. */
#pragma once

#include "flow/context.h"

struct relay;

/* The relay of one stream. */
bool relay_start(struct context *context, enum stream stream, struct relay **ret_relay, struct err *err);
/* Rows may have been appended. `more_follow`: by the caller's next batch, which it begins at once; then a few batches
 * are relayed together (after relay.poll_ms at the latest). Any thread; cheap. NULL: other processes relay. */
void relay_wake(struct relay *relay, bool more_follow);
/* Waits for outstanding acknowledgements (shortly) and moves the cursors a last time. */
void relay_stop(struct relay *relay);

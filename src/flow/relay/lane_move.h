/* SPDX-License-Identifier: Apache-2.0 */
/* Moves a lane from one version of its topic to another without losing the order of its coupons' events. The relay
 * stops publishing the lane's events to the old version. When the old version's consumer has passed everything that
 * was in it at that time (the barrier), the lane may publish to the new version.
 *
 * The progress lives in the relay's memory alone. A relay that takes the lane over starts the wait again. Only the
 * relay's thread uses a lane_move. */
#pragma once

#include "store/kafka.h"
#include "store/pg.h"

struct lane_move {
    int lane; /* -1: no lane is moving */
    int from, to;
    char topic[KAFKA_TOPIC_MAX]; /* the old version's topic */
    int n_partitions;
    int64_t *barrier; /* per partition, the offset to pass; NULL: not read yet */
};

void lane_move_init(struct lane_move *move);
void lane_move_deinit(struct lane_move *move);
/* Starts a move. Does nothing if the same move is already running; otherwise replaces the running one. */
void lane_move_start(struct lane_move *move, const struct kafka_options *kafka, enum stream stream, int lane, int from,
                     int to);
void lane_move_stop(struct lane_move *move);
/* Sets *ret_passed if the consumer has passed the barrier. Call it once Kafka has acknowledged everything that the
 * lane has published. Reads the progress of the requested stream's consumer from Postgres, and everything else from
 * Kafka. */
bool lane_move_passed(struct lane_move *move, struct pg *pg, struct kafka_admin *admin, enum stream stream,
                      bool *ret_passed, struct err *err);

/* A lane on its way from one version of its topic to another, without its coupons' order being lost: nothing more is
 * published to the old version, and only when the old version's consumer has passed everything that stood in it then is
 * the lane free to publish to the new one.
 *
 * What has been reached lives in the relay's memory alone: who takes the lane over begins the wait anew. */
#pragma once

#include "store/kafka.h"
#include "store/pg.h"

struct lane_move {
    int lane; /* -1: none is on its way */
    int from, to;
    char topic[KAFKA_TOPIC_MAX]; /* the old one */
    int n_partitions;
    int64_t *barrier; /* the offsets to be passed; NULL: not known yet */
};

void lane_move_init(struct lane_move *move);
void lane_move_deinit(struct lane_move *move);
/* Begins, or begins anew if it was another lane's or between other versions. */
void lane_move_start(struct lane_move *move, const struct kafka_options *kafka, enum stream stream, int lane, int from,
                     int to);
void lane_move_stop(struct lane_move *move);
/* All that the lane has published is acknowledged: has the consumer passed it? `pg` is asked about the issuer, Kafka
 * about everything else. */
bool lane_move_passed(struct lane_move *move, struct pg *pg, struct kafka_admin *admin, enum stream stream,
                      bool *ret_passed, struct err *err);

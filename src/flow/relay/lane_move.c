/* SPDX-License-Identifier: Apache-2.0 */
/* The move of a lane; see lane_move.h. */
#include "flow/relay/lane_move.h"

#include <stdlib.h>

#include "base/memory.h"
#include "store/topics.h"

#define TIMEOUT_MS 2000

void lane_move_init(struct lane_move *move) {
    *move = (struct lane_move){.lane = -1};
}

void lane_move_stop(struct lane_move *move) {
    free(move->barrier);
    move->barrier = NULL;
    move->lane = -1;
}

void lane_move_deinit(struct lane_move *move) {
    lane_move_stop(move);
}

void lane_move_start(struct lane_move *move, const struct kafka_options *kafka, enum stream stream, int lane, int from,
                     int to) {
    if (move->lane == lane && move->from == from && move->to == to)
        return;
    lane_move_stop(move);
    move->lane = lane;
    move->from = from;
    move->to = to;
    kafka_topic_name(kafka, stream, from, 0, move->topic);
}

/* Reads the current ends of the old topic as the barrier; -1 for a partition that is empty. */
static bool take_barrier(struct lane_move *move, struct kafka_admin *admin, struct err *err) {
    int n;
    if (!kafka_topic_partitions(admin, move->topic, TIMEOUT_MS, &n, err))
        return false;
    int64_t *low = memory_new((size_t)n, sizeof *low), *high = memory_new((size_t)n, sizeof *high);
    const struct kafka_offsets ends = {.topic = move->topic, .n_partitions = n, .low = low, .high = high};
    bool ok = kafka_topic_ends(admin, &ends, TIMEOUT_MS, err);
    for (int i = 0; i < n; i++)
        if (low[i] == high[i])
            high[i] = -1;
    free(low);
    if (!ok) {
        free(high);
        return false;
    }
    move->barrier = high;
    move->n_partitions = n;
    return true;
}

bool lane_move_passed(struct lane_move *move, struct pg *pg, struct kafka_admin *admin, enum stream stream,
                      bool *ret_passed, struct err *err) {
    if (!move->barrier && !take_barrier(move, admin, err))
        return false;
    int n = move->n_partitions;
    int64_t *next = memory_new((size_t)n, sizeof *next);
    const struct kafka_offsets committed = {.topic = move->topic, .n_partitions = n, .next = next};
    bool ok = n == 0 || (stream == STREAM_REQUESTED ? topics_issued(pg, move->topic, n, next, err)
                                                    : kafka_completed_offsets(admin, &committed, TIMEOUT_MS, err));
    bool passed = true;
    for (int i = 0; i < n; i++)
        passed = passed && next[i] >= move->barrier[i];
    free(next);
    if (ok)
        *ret_passed = passed;
    return ok;
}

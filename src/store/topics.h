/* SPDX-License-Identifier: Apache-2.0 */
/* The state of topics in Postgres: the versions of the shared topics, the version that each lane publishes to, and
 * issue's offsets.
 *
 *   target   the version that all lanes should publish to; the same for both streams */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"

/* The greatest number of versions. A migration needs two at a time; the others are versions that were not deleted
 * yet. */
#define TOPIC_VERSIONS_MAX 16

struct topic_version {
    int version;
    int partitions;     /* the number when the topics were created */
    int lanes[STREAMS]; /* the number of lanes that publish to this version */
};
struct topic_target {
    int version;
    bool paused;
    int lanes_left[STREAMS]; /* the number of lanes that do not publish to the target yet */
    int next_lane[STREAMS];  /* the first of these lanes, which moves next; -1: none */
};

/* Reads all versions, ascending. */
bool topics_versions(struct pg *pg, struct topic_version ret[static TOPIC_VERSIONS_MAX], size_t *ret_n,
                     struct err *err);
bool topics_target(struct pg *pg, struct topic_target *ret, struct err *err);
/* Records a version unless it is recorded. Fails with ERR_CONFLICT if there is no room for another version. */
bool topics_add_version(struct pg *pg, int version, int partitions, struct err *err);
/* Sets the target and resumes a paused migration. */
bool topics_set_target(struct pg *pg, int version, struct err *err);
bool topics_set_paused(struct pg *pg, bool paused, struct err *err);
/* Records that the lane publishes to this version. Only the relay that owns the lane calls this. */
bool topics_lane_moved(struct pg *pg, enum stream stream, int lane, int version, struct err *err);
/* Reads issue's offsets in partitions 0 to n - 1 of a topic; -1: none. */
bool topics_issued(struct pg *pg, const char *topic, int n, int64_t *ret_next, struct err *err);
/* Sets issue's offsets in a topic to 0, since the topic was created again. */
bool topics_restart(struct pg *pg, const char *topic, struct err *err);
/* Deletes issue's offsets in these topics, which were deleted, and the record of their version. `version` is 0 for
 * coupons' own topics. */
bool topics_forget(struct pg *pg, const char *const *topics, size_t n, int version, struct err *err);
/* Counts the outbox rows, of both streams, with events of the coupon that Kafka has not acknowledged. It may count a
 * row of another coupon too, never too few. */
bool topics_coupon_waiting(struct pg *pg, int64_t coupon_id, int64_t *ret_rows, struct err *err);

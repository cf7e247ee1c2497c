/* SPDX-License-Identifier: Apache-2.0 */
/* What Postgres knows of topics: which versions of the shared ones there are, which one each lane publishes to, which
 * one all lanes shall publish to (the target), and how far the issuer is in each. Both streams go through the versions
 * together. */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"

/* More are never needed at once: the old one, the new one, and one that was given up. */
#define TOPIC_VERSIONS_MAX 16

struct topic_version {
    int version, partitions; /* as created */
    int lanes[STREAMS];      /* that publish to it */
};
struct topic_target {
    int version;
    bool paused;
    int lanes_left[STREAMS]; /* that do not publish to it yet */
    int next_lane[STREAMS];  /* the first of these: lanes move one at a time; -1: none is left */
};

/* All versions, ascending. */
bool topics_versions(struct pg *pg, struct topic_version ret[static TOPIC_VERSIONS_MAX], size_t *ret_n,
                     struct err *err);
bool topics_target(struct pg *pg, struct topic_target *ret, struct err *err);
/* Records a version, unless it is there. ERR_CONFLICT: there are too many. */
bool topics_add_version(struct pg *pg, int version, int partitions, struct err *err);
/* From now on lanes go there. */
bool topics_set_target(struct pg *pg, int version, struct err *err);
bool topics_set_paused(struct pg *pg, bool paused, struct err *err);
/* The lane's relay publishes to this version from now on. */
bool topics_lane_moved(struct pg *pg, enum stream stream, int lane, int version, struct err *err);
/* Up to where the issuer is in partitions 0 to n-1 of a topic; -1: it was never there. */
bool topics_issued(struct pg *pg, const char *topic, int n, int64_t *ret_next, struct err *err);
/* This topic is new, also if one of its name was there before: the issuer starts it from its beginning. */
bool topics_restart(struct pg *pg, const char *topic, struct err *err);
/* These topics are gone: so are the issuer's offsets in them and, unless 0, the version. */
bool topics_forget(struct pg *pg, const char *const *topics, size_t n, int version, struct err *err);
/* Rows of this coupon that wait in the outbox of either stream. */
bool topics_coupon_waiting(struct pg *pg, int64_t coupon_id, int64_t *ret_rows, struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* One batch of issue: takes messages, decides on them, and commits one transaction. It uses Postgres but not Kafka.
 * Each worker of issue runs its own batches on its own thread. */
#pragma once

#include "base/arena.h"
#include "store/issuance.h"
#include "store/kafka.h"
#include "store/pg.h"

struct issue_batch_result {
    size_t issued, rejected, dead, duplicates;
    /* The offset of the next message in each partition of the batch, after the commit. */
    size_t n_places;
    struct kafka_place *places;
    int64_t *next_offset;
    /* A message stands above the stored offset; it and all that follow in its place were left alone. */
    bool gap;
    struct kafka_place gap_place;
    int64_t gap_expected, gap_found;
};

/* The gap that is passed over, since its messages never come; a place with an empty topic: none is. */
struct accepted_gap {
    struct kafka_place place;
    int64_t next_offset;
};

/* A worker's own. */
struct issue_means {
    struct pg *pg;
    struct arena *arena;
    struct coupon_cache *cache; /* may be NULL */
    int lanes;
};

/* Runs the batch in one transaction. If Postgres refuses it, runs its halves, and so on; a message that is refused
 * alone becomes a dead letter. False: *err is retriable. */
bool issue_batch_run(const struct issue_means *means, const struct kafka_message *messages, size_t n,
                     const struct accepted_gap *accepted_gap, struct issue_batch_result *ret, struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* One batch of issue, which decides on messages and commits one transaction. It uses Postgres but not Kafka. Each
 * worker of issue runs its own batches on its own thread. */
#pragma once

#include "base/arena.h"
#include "store/issuance.h"
#include "store/kafka.h"
#include "store/pg.h"
#include "trace/tracer.h"

struct issue_batch_result {
    size_t issued, rejected, dead, duplicates; /* the number of messages with each outcome */
    /* The next offset of each place of the batch, after the commit. */
    size_t n_places;
    struct kafka_place *places;
    int64_t *next_offset;
    /* A message and the hole below it were above the stored offset. It and all later messages of its place were not
     * processed. */
    bool gap;
    struct kafka_place gap_place;
    int64_t gap_expected, gap_found; /* offsets */
};

/* A gap to ignore, since its messages stay away. An empty topic in `place` means that there is none. */
struct accepted_gap {
    struct kafka_place place;
    int64_t next_offset;
};

/* A worker's resources. */
struct issue_means {
    struct pg *pg;
    struct arena *arena;
    struct coupon_cache *cache; /* may be NULL */
    int lanes;
    struct tracer *tracer; /* NULL: off */
};

/* Runs the batch in one transaction. If Postgres refuses the batch, runs its halves in the same way; a single message
 * that Postgres refuses becomes a dead letter. Fails if Postgres is unavailable. */
bool issue_batch_run(const struct issue_means *means, const struct kafka_message *messages, size_t n,
                     const struct accepted_gap *accepted_gap, struct issue_batch_result *ret, struct err *err);

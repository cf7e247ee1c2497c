/* One batch of issue: messages in, transaction done. Shared by issue's threads; knows Postgres but not Kafka. */
#pragma once

#include "base/arena.h"
#include "store/issuance.h"
#include "store/kafka.h"
#include "store/pg.h"

struct issue_batch_result {
    size_t issued, rejected, dead, duplicates;
    /* Where each place of the batch stands after the commit. */
    size_t n_places;
    struct kafka_place *places;
    int64_t *next_offset;
    /* A message above the stored offset; what follows in its place was left alone. */
    bool gap;
    struct kafka_place gap_place;
    int64_t gap_expected, gap_found;
};

/* Where a gap is no longer waited for; a place with an empty topic: nowhere. */
struct accepted_gap {
    struct kafka_place place;
    int64_t next_offset;
};

/* What a worker has. */
struct issue_means {
    struct pg *pg;
    struct arena *arena;
    struct coupon_cache *cache; /* may be NULL */
    int lanes;
};

/* A batch that Postgres refuses is cut in halves until the message that it refuses stands alone, which becomes a dead
 * letter. False: *err is retriable. */
bool issue_batch_run(const struct issue_means *means, const struct kafka_message *messages, size_t n,
                     const struct accepted_gap *accepted_gap, struct issue_batch_result *ret, struct err *err);

/* One batch of issue: messages in, transaction done. Shared by issue's threads; knows Postgres but not Kafka. */
#pragma once

#include "base/arena.h"
#include "store/issuance.h"
#include "store/kafka.h"
#include "store/pg.h"

struct issue_batch_result {
    size_t issued, rejected, dead, duplicates;
    /* Where each partition of the batch stands after the commit. */
    size_t n_partitions;
    int32_t *partition;
    int64_t *next_offset;
    /* A message above the stored offset; what follows in its partition was left alone. */
    bool gap;
    int32_t gap_partition;
    int64_t gap_expected, gap_found;
};

/* `accept_gap_at`: an expected offset at which a gap is no longer waited for, or -1. A batch that Postgres refuses is
 * cut in halves until the message that it refuses stands alone, which becomes a dead letter. False: *err is retriable.
 */
bool issue_batch_run(struct pg *pg, struct arena *arena, int lanes, const char *topic,
                     const struct kafka_message *messages, size_t n, int64_t accept_gap_at,
                     struct issue_batch_result *ret, struct err *err);

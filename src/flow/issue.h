/* Step 5, issue: from the requested topic to user_coupon. One transaction per batch (store/issuance.h) with the offset
 * in Postgres: messages below the stored offset were done before, one above it means that some got lost on the way.
 *
 * Whatever goes wrong, the way back is the same: reposition, i.e. read the stored offsets and seek to them. While
 * Postgres is away the partitions are paused and the membership in the group is kept. */
#pragma once

#include "config/config.h"
#include "store/kafka.h"
#include "store/pg.h"

struct issue;
struct relay;
struct watch;

/* `relay` (of the published stream) and `watch` are woken after commits. */
struct issue *issue_start(const struct config *config, const struct pg_options *postgres,
                          const struct kafka_options *kafka, struct relay *relay, struct watch *watch);
/* Finishes the batch in hand, commits, leaves the group. */
void issue_stop(struct issue *issue);

/* Step 5, issue: from the requested topic to user_coupon. One transaction per batch (store/issuance.h) with the offset
 * in Postgres: messages below the stored offset were done before, one above it means that some got lost on the way.
 *
 * Whatever goes wrong, the way back is the same: reposition, i.e. read the stored offsets and seek to them. While
 * Postgres is away the partitions are paused and the membership in the group is kept. */
#pragma once

#include "flow/context.h"

struct issue;

/* After commits it wakes the relay of the published stream, and watch. */
bool issue_start(struct context *context, struct issue **ret_issue, struct err *err);
/* Finishes the batch in hand, commits, leaves the group. */
void issue_stop(struct issue *issue);

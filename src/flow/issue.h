/* SPDX-License-Identifier: Apache-2.0 */
/* Step 5, issue: from the requested topic to the issued coupons. One transaction per batch (store/issuance.h) also
 * stores the offsets in Postgres. A message below the stored offset was processed before. A message above it means
 * that messages are missing in between: a gap.
 *
 * Issue recovers from every failure in one way: it repositions, i.e. it reads the stored offsets and seeks to them.
 * While Postgres is unavailable, issue pauses its partitions and stays in the group. */
#pragma once

#include "flow/context.h"

struct issue;

/* Uses the relay of the published stream and watch, which issue wakes after commits. */
bool issue_start(struct context *context, struct issue **ret_issue, struct err *err);
/* Finishes the current batch, commits, and leaves the group. NULL is fine. */
void issue_stop(struct issue *issue);

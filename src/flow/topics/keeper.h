/* The topics' keeper: a thread that compares the shared topics with how they were created, once a second.
 *
 * Partitions that somebody adds by hand send coupons to other partitions than before. Nothing is lost by that, since
 * the ticket decides, but the keeper reports it: in the log, once for each number of partitions, and as a metric. It
 * also reports how far a migration between versions of the topics is. */
#pragma once

#include "flow/context.h"

struct topics_keeper;

bool topics_keeper_start(struct context *context, struct topics_keeper **ret_keeper, struct err *err);
void topics_keeper_stop(struct topics_keeper *keeper); /* NULL is fine */

/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper of the topics: once a second, a thread compares the shared topics with the way they were created.
 *
 * If somebody adds partitions by hand, coupons may go to other partitions than before. Nothing is lost, since the
 * ticket decides, but the keeper reports it: in the log, once for each number of partitions, and as a metric. It
 * also reports the progress of a migration between versions of the topics.
 *
 * It also watches that some member of the group reads each partition. The group's leader assigns the partitions that
 * its coordinator, one of the brokers, tells it of. A broker learns of a new topic a moment later than the others do,
 * and the members, who know the topic already, see no reason to join again: librdkafka leaves the topic unread for good
 * (2.0.2 and 2.14.2). The keeper then makes a member join again. */
#pragma once

#include "flow/context.h"

struct topics_keeper;

bool topics_keeper_start(struct context *context, struct topics_keeper **ret_keeper, struct err *err);
/* Whether all shared topics were there when the keeper last looked. If not, `text` gets the reason, one line for a
 * person. Any thread; never blocks. */
#define TOPICS_KEEPER_TEXT_SIZE 300
bool topics_keeper_tell(struct topics_keeper *keeper, char text[static TOPICS_KEEPER_TEXT_SIZE]);
/* Ends the thread; what the keeper tells stays. NULL is fine. */
void topics_keeper_stop(struct topics_keeper *keeper);
/* The same, and frees the keeper. NULL is fine. */
void topics_keeper_free(struct topics_keeper *keeper);

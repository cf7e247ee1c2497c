/* TopicAdminService, and an eye on the topics: listing, migrating between versions, deleting and retiring on command.
 * The lanes are moved by their relays (flow/lane_move.h); this only sets the target.
 *
 * A second thread, the keeper, compares the shared topics with how they were created: partitions that somebody adds by
 * hand send coupons to other partitions than before, which loses nothing (the ticket decides) but is told. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "flow/context.h"

bool topic_admin_service_start(struct context *context, ProtobufCService **ret_service, struct err *err);
void topic_admin_service_stop(ProtobufCService *service); /* NULL is fine */

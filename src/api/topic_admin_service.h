/* SPDX-License-Identifier: Apache-2.0 */
/* TopicAdminService: lists topics, migrates between versions, and deletes or retires topics on command. The service
 * only sets the target version; the relays move the lanes (flow/relay/lane_move.h). server.c starts the keeper,
 * which watches the topics (flow/topics/keeper.h). One thread, one call at a time. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "flow/context.h"

bool topic_admin_service_start(struct context *context, ProtobufCService **ret_service, struct err *err);
void topic_admin_service_stop(ProtobufCService *service); /* NULL is fine */

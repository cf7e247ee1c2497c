/* SPDX-License-Identifier: Apache-2.0 */
/* TopicAdminService lists topics, starts and pauses migrations between versions, and deletes topics. It only sets the
 * target version; the relays move the lanes (flow/relay/lane_move.h). One thread performs the calls one by one. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "flow/context.h"

bool topic_admin_service_start(struct context *context, ProtobufCService **ret_service, struct err *err);
void topic_admin_service_stop(ProtobufCService *service); /* NULL is fine */

/* SPDX-License-Identifier: Apache-2.0 */
/* IntegrityService follows one coupon from the ledger to the topics, and checks whether each station matches the
 * previous ones. Its own thread performs the calls one by one, since a call may scan many rows and read whole
 * partitions. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "flow/context.h"

bool integrity_service_start(struct context *context, ProtobufCService **ret_service, struct err *err);
void integrity_service_stop(ProtobufCService *service); /* NULL is fine */

/* SPDX-License-Identifier: Apache-2.0 */
/* CouponAdminService: creating, reading and changing coupons. One thread, one call at a time; changes take the coupon's
 * admit lane (store/coupons.h) and write the flag after the commit. With kafka.topic_strategy = per_coupon a new coupon
 * gets its topics here; where that fails, the relay does it later. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "flow/context.h"

bool coupon_admin_service_start(struct context *context, ProtobufCService **ret_service, struct err *err);
void coupon_admin_service_stop(ProtobufCService *service); /* NULL is fine */

/* SPDX-License-Identifier: Apache-2.0 */
/* CouponAdminService creates, reads and changes coupons. One thread performs the calls one by one. A change takes the
 * lock of the coupon's admit lane (store/coupons.h), and writes the flag after the commit. With kafka.topic_strategy =
 * per_coupon, the service also creates a new coupon's topics; if that fails, the relay creates them later. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "flow/context.h"

bool coupon_admin_service_start(struct context *context, ProtobufCService **ret_service, struct err *err);
void coupon_admin_service_stop(ProtobufCService *service); /* NULL is fine */

/* SPDX-License-Identifier: Apache-2.0 */
/* CouponService validates requests and names every bad field, hands each valid request to a step, and answers with the
 * outcome that the steps decide. It never blocks its poller. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "flow/context.h"

/* Needs gate, status, holdings and watch of the context. */
bool coupon_service_start(struct context *context, ProtobufCService **ret_service, struct err *err);
void coupon_service_stop(ProtobufCService *service); /* NULL is fine */

/* SPDX-License-Identifier: Apache-2.0 */
/* CouponService: decodes and validates what callers ask for, names every bad field, hands the request to a step, and
 * answers with the outcome that the step decides on. Never blocks its poller. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "flow/context.h"

/* Needs gate, status and watch of the context. */
bool coupon_service_start(struct context *context, ProtobufCService **ret_service, struct err *err);
void coupon_service_stop(ProtobufCService *service); /* NULL is fine */

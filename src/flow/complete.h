/* SPDX-License-Identifier: Apache-2.0 */
/* Step 7, complete: from the published topic to the flags in Redis. One query per batch reads the batch's coupons
 * from Postgres. If a coupon is no longer available, complete sets its flag to false, by version. It commits to
 * Kafka after that; doing it twice is harmless. It also wakes the watchers whose coupons another process has issued. */
#pragma once

#include "flow/context.h"

struct complete;

bool complete_start(struct context *context, struct complete **ret_complete, struct err *err);
void complete_stop(struct complete *complete);

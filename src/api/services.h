/* SPDX-License-Identifier: Apache-2.0 */
/* The services of couponsd: one table. The server starts, serves and stops what stands in it; health and the metrics of
 * calls take their names from the same tables. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "api/methods.h"
#include "flow/context.h"

struct api_service {
    const struct coupon_service_methods *methods; /* descriptor, names and shapes */
    bool (*start)(struct context *context, ProtobufCService **ret_service, struct err *err);
    void (*stop)(ProtobufCService *service); /* NULL is fine */
};

extern const struct api_service api_services[COUPON_SERVICES];

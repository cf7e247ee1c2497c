/* SPDX-License-Identifier: Apache-2.0 */
/* The table of couponsd's services. The server starts, serves and stops the services of this table; health, access
 * control and the metrics of calls read it too. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "api/methods.h"
#include "flow/context.h"

enum role { ROLE_CALLER = 1, ROLE_ADMIN = 2, ROLE_OBSERVER = 4 };
#define ROLE_ANY (ROLE_CALLER | ROLE_ADMIN | ROLE_OBSERVER)

struct api_service {
    const struct coupon_service_methods *methods; /* descriptor, names and shapes */
    const unsigned *roles;                        /* of each method, in the same order: enum role, joined by | */
    bool (*start)(struct context *context, ProtobufCService **ret_service, struct err *err);
    void (*stop)(ProtobufCService *service); /* NULL is fine */
};

extern const struct api_service api_services[COUPON_SERVICES];

/* Returns the roles that may call the method, or 0 if it is not in the table. */
unsigned api_roles_of(const char *service, const char *method);

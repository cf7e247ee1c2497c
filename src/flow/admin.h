/* CouponAdminService: creating, reading and changing coupons. One thread, one call at a time; changes take the coupon's
 * admit lane (store/coupons.h) and write the flag after the commit. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "config.h"
#include "store/pg.h"

struct admin;
struct known;

struct admin *admin_start(const struct config *config, const struct pg_options *postgres, struct known *known,
                          struct err *err);
ProtobufCService *admin_service_base(struct admin *admin);
void admin_stop(struct admin *admin);

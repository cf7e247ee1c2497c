/* CouponAdminService: creating, reading and changing coupons. One thread, one call at a time; changes take the coupon's
 * admit lane (store/coupons.h) and write the flag after the commit. With kafka.topic_strategy = per_coupon a new coupon
 * gets its topics here; where that fails, the relay does it later. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "config/config.h"
#include "store/kafka.h"
#include "store/pg.h"

struct admin;
struct known;

struct admin *admin_start(const struct config *config, const struct pg_options *postgres,
                          const struct kafka_options *kafka, struct kafka_admin *kafka_admin, struct known *known,
                          struct err *err);
ProtobufCService *admin_service_base(struct admin *admin);
void admin_stop(struct admin *admin);

/* SPDX-License-Identifier: Apache-2.0 */
/* Our services, and which of their methods stream: what protobuf-c's descriptors leave out, for server and client
 * alike. */
#pragma once

#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "coupon/v1/dead_letter_admin_service.pb-c.h"
#include "coupon/v1/integrity_service.pb-c.h"
#include "coupon/v1/topic_admin_service.pb-c.h"
#include "rpc/rpc.h"

static const struct rpc_method coupon_service_methods[] __attribute__((unused)) = {
    {"RequestPublish", RPC_UNARY},
    {"GetStatus", RPC_UNARY},
    {"WatchStatus", RPC_SERVER_STREAM},
    {"ListUserCoupons", RPC_UNARY},
};
#define COUPON_SERVICE_METHODS (sizeof coupon_service_methods / sizeof coupon_service_methods[0])

static const struct rpc_method coupon_admin_service_methods[] __attribute__((unused)) = {
    {"CreateCoupon", RPC_UNARY}, {"GetCoupon", RPC_UNARY},   {"ListCoupons", RPC_UNARY}, {"PauseCoupon", RPC_UNARY},
    {"ResumeCoupon", RPC_UNARY}, {"CloseCoupon", RPC_UNARY}, {"AddQuantity", RPC_UNARY},
};
#define COUPON_ADMIN_SERVICE_METHODS (sizeof coupon_admin_service_methods / sizeof coupon_admin_service_methods[0])

static const struct rpc_method topic_admin_service_methods[] __attribute__((unused)) = {
    {"ListTopics", RPC_UNARY},   {"MigrateTopics", RPC_UNARY},      {"PauseMigration", RPC_UNARY},
    {"DeleteTopics", RPC_UNARY}, {"RetireCouponTopics", RPC_UNARY},
};
#define TOPIC_ADMIN_SERVICE_METHODS (sizeof topic_admin_service_methods / sizeof topic_admin_service_methods[0])

static const struct rpc_method dead_letter_admin_service_methods[] __attribute__((unused)) = {
    {"ListDeadLetters", RPC_UNARY},
    {"GetDeadLetter", RPC_UNARY},
    {"ReplayDeadLetters", RPC_UNARY},
    {"DropDeadLetters", RPC_UNARY},
};
#define DEAD_LETTER_ADMIN_SERVICE_METHODS                                                                              \
    (sizeof dead_letter_admin_service_methods / sizeof dead_letter_admin_service_methods[0])

static const struct rpc_method integrity_service_methods[] __attribute__((unused)) = {
    {"VerifyCoupon", RPC_UNARY},
};
#define INTEGRITY_SERVICE_METHODS (sizeof integrity_service_methods / sizeof integrity_service_methods[0])

/* All of them, by number. */
enum coupon_service_number {
    COUPON_SERVICE,
    COUPON_ADMIN_SERVICE,
    TOPIC_ADMIN_SERVICE,
    DEAD_LETTER_ADMIN_SERVICE,
    INTEGRITY_SERVICE,
    COUPON_SERVICES,
};
static const struct coupon_service_methods {
    const ProtobufCServiceDescriptor *descriptor;
    const struct rpc_method *methods;
    size_t n_methods;
} coupon_services[COUPON_SERVICES] __attribute__((unused)) = {
    [COUPON_SERVICE] = {&coupon__v1__coupon_service__descriptor, coupon_service_methods, COUPON_SERVICE_METHODS},
    [COUPON_ADMIN_SERVICE] = {&coupon__v1__coupon_admin_service__descriptor, coupon_admin_service_methods,
                              COUPON_ADMIN_SERVICE_METHODS},
    [TOPIC_ADMIN_SERVICE] = {&coupon__v1__topic_admin_service__descriptor, topic_admin_service_methods,
                             TOPIC_ADMIN_SERVICE_METHODS},
    [DEAD_LETTER_ADMIN_SERVICE] = {&coupon__v1__dead_letter_admin_service__descriptor,
                                   dead_letter_admin_service_methods, DEAD_LETTER_ADMIN_SERVICE_METHODS},
    [INTEGRITY_SERVICE] = {&coupon__v1__integrity_service__descriptor, integrity_service_methods,
                           INTEGRITY_SERVICE_METHODS},
};
/* The methods of all of them. */
#define COUPON_METHODS                                                                                                 \
    (COUPON_SERVICE_METHODS + COUPON_ADMIN_SERVICE_METHODS + TOPIC_ADMIN_SERVICE_METHODS +                             \
     DEAD_LETTER_ADMIN_SERVICE_METHODS + INTEGRITY_SERVICE_METHODS)

/* SPDX-License-Identifier: Apache-2.0 */
/* The table of services and methods, for server and client. It adds what protobuf-c's descriptors leave out: whether a
 * method streams, and the roles that may call it.
 *
 *   METHOD(name, shape, roles)   `roles` are those of api/services.h, which only the server reads
 *
 * A method without roles does not compile, and one without a row can't be served. */
#pragma once

#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "coupon/v1/dead_letter_admin_service.pb-c.h"
#include "coupon/v1/integrity_service.pb-c.h"
#include "coupon/v1/topic_admin_service.pb-c.h"
#include "rpc/rpc.h"

/* An administrator needs the role of a caller too to request coupons. */
#define COUPON_SERVICE_TABLE(METHOD)                                                                                   \
    METHOD("RequestPublish", RPC_UNARY, ROLE_CALLER)                                                                   \
    METHOD("GetStatus", RPC_UNARY, ROLE_ANY)                                                                           \
    METHOD("WatchStatus", RPC_SERVER_STREAM, ROLE_ANY)                                                                 \
    METHOD("ListUserCoupons", RPC_UNARY, ROLE_ANY)

#define COUPON_ADMIN_SERVICE_TABLE(METHOD)                                                                             \
    METHOD("CreateCoupon", RPC_UNARY, ROLE_ADMIN)                                                                      \
    METHOD("GetCoupon", RPC_UNARY, ROLE_ADMIN | ROLE_OBSERVER)                                                         \
    METHOD("ListCoupons", RPC_UNARY, ROLE_ADMIN | ROLE_OBSERVER)                                                       \
    METHOD("PauseCoupon", RPC_UNARY, ROLE_ADMIN)                                                                       \
    METHOD("ResumeCoupon", RPC_UNARY, ROLE_ADMIN)                                                                      \
    METHOD("CloseCoupon", RPC_UNARY, ROLE_ADMIN)                                                                       \
    METHOD("AddQuantity", RPC_UNARY, ROLE_ADMIN)

#define TOPIC_ADMIN_SERVICE_TABLE(METHOD)                                                                              \
    METHOD("ListTopics", RPC_UNARY, ROLE_ADMIN | ROLE_OBSERVER)                                                        \
    METHOD("MigrateTopics", RPC_UNARY, ROLE_ADMIN)                                                                     \
    METHOD("PauseMigration", RPC_UNARY, ROLE_ADMIN)                                                                    \
    METHOD("DeleteTopics", RPC_UNARY, ROLE_ADMIN)                                                                      \
    METHOD("RetireCouponTopics", RPC_UNARY, ROLE_ADMIN)

#define DEAD_LETTER_ADMIN_SERVICE_TABLE(METHOD)                                                                        \
    METHOD("ListDeadLetters", RPC_UNARY, ROLE_ADMIN | ROLE_OBSERVER)                                                   \
    METHOD("GetDeadLetter", RPC_UNARY, ROLE_ADMIN | ROLE_OBSERVER)                                                     \
    METHOD("ReplayDeadLetters", RPC_UNARY, ROLE_ADMIN)                                                                 \
    METHOD("DropDeadLetters", RPC_UNARY, ROLE_ADMIN)

#define INTEGRITY_SERVICE_TABLE(METHOD)       METHOD("VerifyCoupon", RPC_UNARY, ROLE_ADMIN | ROLE_OBSERVER)

#define COUPON_RPC_METHOD(name, shape, roles) {name, shape},
static const struct rpc_method coupon_service_methods[]
    __attribute__((unused)) = {COUPON_SERVICE_TABLE(COUPON_RPC_METHOD)};
#define COUPON_SERVICE_METHODS (sizeof coupon_service_methods / sizeof coupon_service_methods[0])
static const struct rpc_method coupon_admin_service_methods[]
    __attribute__((unused)) = {COUPON_ADMIN_SERVICE_TABLE(COUPON_RPC_METHOD)};
#define COUPON_ADMIN_SERVICE_METHODS (sizeof coupon_admin_service_methods / sizeof coupon_admin_service_methods[0])
static const struct rpc_method topic_admin_service_methods[]
    __attribute__((unused)) = {TOPIC_ADMIN_SERVICE_TABLE(COUPON_RPC_METHOD)};
#define TOPIC_ADMIN_SERVICE_METHODS (sizeof topic_admin_service_methods / sizeof topic_admin_service_methods[0])
static const struct rpc_method dead_letter_admin_service_methods[]
    __attribute__((unused)) = {DEAD_LETTER_ADMIN_SERVICE_TABLE(COUPON_RPC_METHOD)};
#define DEAD_LETTER_ADMIN_SERVICE_METHODS                                                                              \
    (sizeof dead_letter_admin_service_methods / sizeof dead_letter_admin_service_methods[0])
static const struct rpc_method integrity_service_methods[]
    __attribute__((unused)) = {INTEGRITY_SERVICE_TABLE(COUPON_RPC_METHOD)};
#define INTEGRITY_SERVICE_METHODS (sizeof integrity_service_methods / sizeof integrity_service_methods[0])

/* The services, by number. */
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
/* The number of methods of all services. */
#define COUPON_METHODS                                                                                                 \
    (COUPON_SERVICE_METHODS + COUPON_ADMIN_SERVICE_METHODS + TOPIC_ADMIN_SERVICE_METHODS +                             \
     DEAD_LETTER_ADMIN_SERVICE_METHODS + INTEGRITY_SERVICE_METHODS)

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

#define INTEGRITY_SERVICE_TABLE(METHOD) METHOD("VerifyCoupon", RPC_UNARY, ROLE_ADMIN | ROLE_OBSERVER)

/* Every service: SERVICE(number, name). The table of a service's methods, its roles, and its functions are named after
 * it, so a service without one of them does not compile. */
#define COUPON_SERVICES_TABLE(SERVICE)                                                                                 \
    SERVICE(COUPON_SERVICE, coupon_service)                                                                            \
    SERVICE(COUPON_ADMIN_SERVICE, coupon_admin_service)                                                                \
    SERVICE(TOPIC_ADMIN_SERVICE, topic_admin_service)                                                                  \
    SERVICE(DEAD_LETTER_ADMIN_SERVICE, dead_letter_admin_service)                                                      \
    SERVICE(INTEGRITY_SERVICE, integrity_service)

#define COUPON_SERVICE_NUMBER(number, name) number,
enum coupon_service_number { COUPON_SERVICES_TABLE(COUPON_SERVICE_NUMBER) COUPON_SERVICES };

#define COUPON_RPC_METHOD(name, shape, roles) {name, shape},
#define COUPON_RPC_METHODS(number, name)                                                                               \
    static const struct rpc_method name##_methods[] __attribute__((unused)) = {number##_TABLE(COUPON_RPC_METHOD)};
COUPON_SERVICES_TABLE(COUPON_RPC_METHODS)

#define COUPON_SERVICE_ROW(number, name)                                                                               \
    [number] = {&coupon__v1__##name##__descriptor, name##_methods, sizeof name##_methods / sizeof name##_methods[0]},
/* The services, by number. */
static const struct coupon_service_methods {
    const ProtobufCServiceDescriptor *descriptor;
    const struct rpc_method *methods;
    size_t n_methods;
} coupon_services[COUPON_SERVICES] __attribute__((unused)) = {COUPON_SERVICES_TABLE(COUPON_SERVICE_ROW)};

/* The number of methods of all services: this struct has a byte for each. */
#define COUPON_SERVICE_BYTES(number, name) char name[sizeof name##_methods / sizeof name##_methods[0]];
struct coupon_method_bytes {
    COUPON_SERVICES_TABLE(COUPON_SERVICE_BYTES)
};
#define COUPON_METHODS sizeof(struct coupon_method_bytes)

/* SPDX-License-Identifier: Apache-2.0 */
/* A served service and its methods. Immutable once the server has started. */
#pragma once

#include "rpc/descriptors.h"
#include "rpc/rpc.h"
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct service;
struct method {
    struct service *service;
    const ProtobufCMethodDescriptor *descriptor;
    unsigned index;
    enum rpc_shape shape;
    struct rpc_limits limits;
    char *path; /* "/package.Service/Method" */
    void *registered;
};

/* A service that comes with the bridge: the server frees its object with the service. */
struct bridge_service {
    void *object;
    void (*free)(void *object); /* NULL: another service frees it */
};

struct service {
    struct service *next;
    ProtobufCService *impl;
    struct method *methods;
    unsigned n_methods;
    bool own; /* one of the bridge's services (health, reflection) */
    struct bridge_service bridge;
};

/* Whether the client sends exactly one message, which comes with the call. */
bool shape_takes_one(enum rpc_shape shape);
/* Whether there is exactly one response. */
bool shape_gives_one(enum rpc_shape shape);

/* Fails where the table of methods, the stub and the descriptors do not agree. */
bool service_new(ProtobufCService *impl, const struct rpc_method *methods, size_t n_methods,
                 const struct descriptors *descriptors, struct service **ret_service, struct err *err);
void service_free(struct service *service);

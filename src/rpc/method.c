/* SPDX-License-Identifier: Apache-2.0 */
/* A served service and its methods, for which the stub, the table of methods and the descriptor set have to agree. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/strbuf.h"
#include "rpc/method.h"

static const char *const shape_names[] = {"unary", "server stream", "client stream", "bidi stream"};

bool shape_takes_one(enum rpc_shape shape) {
    return shape == RPC_UNARY || shape == RPC_SERVER_STREAM;
}

bool shape_gives_one(enum rpc_shape shape) {
    return shape == RPC_UNARY || shape == RPC_CLIENT_STREAM;
}

static enum rpc_shape shape_of(const Google__Protobuf__MethodDescriptorProto *method) {
    if (method->client_streaming)
        return method->server_streaming ? RPC_BIDI_STREAM : RPC_CLIENT_STREAM;
    return method->server_streaming ? RPC_SERVER_STREAM : RPC_UNARY;
}

static const struct rpc_method *find_row(const struct rpc_method *methods, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}

static const Google__Protobuf__MethodDescriptorProto *
find_method(const Google__Protobuf__ServiceDescriptorProto *service, const char *name) {
    for (size_t i = 0; i < service->n_method; i++)
        if (service->method[i]->name && strcmp(service->method[i]->name, name) == 0)
            return service->method[i];
    return NULL;
}

static bool method_init(struct method *method, const struct rpc_method *methods, size_t n_methods,
                        const Google__Protobuf__ServiceDescriptorProto *described, struct err *err) {
    const char *service_name = method->service->impl->descriptor->name, *name = method->descriptor->name;
    const struct rpc_method *row = find_row(methods, n_methods, name);
    if (!row)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "the table of %s lacks its method %s", service_name, name);
    const Google__Protobuf__MethodDescriptorProto *says = find_method(described, name);
    if (!says)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "the descriptor set lacks %s.%s", service_name, name);
    if (shape_of(says) != row->shape)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "%s.%s is a %s in the descriptor set but a %s in its table",
                       service_name, name, shape_names[shape_of(says)], shape_names[row->shape]);
    method->shape = row->shape;
    struct strbuf path = {0};
    strbuf_printf(&path, "/%s/%s", service_name, name);
    method->path = path.data;
    return true;
}

bool service_new(ProtobufCService *impl, const struct rpc_method *methods, size_t n_methods,
                 const struct descriptors *descriptors, struct service **ret_service, struct err *err) {
    const ProtobufCServiceDescriptor *descriptor = impl->descriptor;
    const Google__Protobuf__ServiceDescriptorProto *described = descriptors_service(descriptors, descriptor->name);
    if (!described)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "the descriptor set lacks the service %s", descriptor->name);
    for (size_t i = 0; i < n_methods; i++)
        if (!find_method(described, methods[i].name))
            return err_set(err, ERR_INVALID, BACKEND_NONE, "the table of %s has %s, which is none of its methods",
                           descriptor->name, methods[i].name);

    struct service *service = memory_new(1, sizeof *service);
    service->methods = memory_new(descriptor->n_methods, sizeof *service->methods);
    service->impl = impl;
    for (unsigned i = 0; i < descriptor->n_methods; i++) {
        struct method *method = &service->methods[service->n_methods++];
        *method = (struct method){.service = service, .descriptor = &descriptor->methods[i], .index = i};
        if (!method_init(method, methods, n_methods, described, err)) {
            service_free(service);
            return false;
        }
    }
    *ret_service = service;
    return true;
}

void service_free(struct service *service) {
    if (!service)
        return;
    if (service->bridge.free)
        service->bridge.free(service->bridge.object);
    for (unsigned i = 0; i < service->n_methods; i++)
        free(service->methods[i].path);
    free(service->methods);
    free(service);
}

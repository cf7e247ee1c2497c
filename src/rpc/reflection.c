/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.reflection.v1 and v1alpha over the server's descriptor set. Both versions have the same messages, so one service
 * serves both: the stub of v1, and a copy of its descriptor with v1alpha's name.
 *
 * Each request is answered at once, on the poller's thread, from data that does not change while the server runs. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "rpc/call.h"

#define REQUEST(kind)  GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##kind
#define RESPONSE(kind) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##kind

typedef Grpc__Reflection__V1__ServerReflection_Service reflection_service;
typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

/* One version of the service. `base` is first: the service function gets a pointer to it. */
struct version {
    reflection_service base;
    struct rpc_server *server;
};

struct reflection {
    struct version v1, v1alpha;
    ProtobufCServiceDescriptor v1alpha_descriptor;
};

/* --- answers; they point into the caller's arrays and to literals --- */

static void answer_error(Grpc__Reflection__V1__ErrorResponse *error, int code, const char *text,
                         reflection_response *response) {
    error->error_code = code;
    error->error_message = (char *)text;
    response->message_response_case = RESPONSE(ERROR_RESPONSE);
    response->error_response = error;
}

static void write_services(const struct rpc_server *server, reflection_response *response,
                           Grpc__Reflection__V1__ServerReflectionResponse_Closure write, void *closure_data) {
    size_t n = 0;
    for (const struct service *each = server->services; each; each = each->next)
        n++;
    Grpc__Reflection__V1__ServiceResponse *services = memory_new(n, sizeof *services);
    Grpc__Reflection__V1__ServiceResponse **pointers = memory_new(n, sizeof(Grpc__Reflection__V1__ServiceResponse *));
    Grpc__Reflection__V1__ListServiceResponse list = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    list.service = pointers;
    for (const struct service *each = server->services; each; each = each->next) {
        size_t i = list.n_service++;
        grpc__reflection__v1__service_response__init(&services[i]);
        services[i].name = (char *)each->impl->descriptor->name;
        pointers[i] = &services[i];
    }
    response->message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
    response->list_services_response = &list;
    write(response, closure_data);
    free(services);
    free(pointers);
}

/* Adds a file after the files that it imports, each once. Leaves out files that are not in the set. */
static void add_file(const struct descriptors *descriptors, int index, bool *added, ProtobufCBinaryData *files,
                     size_t *n) {
    if (index < 0 || added[index])
        return;
    added[index] = true;
    const struct descriptor_file *file = &descriptors->files[index];
    for (size_t i = 0; i < file->proto->n_dependency; i++)
        add_file(descriptors, descriptors_file_named(descriptors, file->proto->dependency[i]), added, files, n);
    files[(*n)++] = (ProtobufCBinaryData){.len = file->len, .data = (uint8_t *)file->bytes};
}

static void write_file(const struct rpc_server *server, int index, reflection_response *response,
                       Grpc__Reflection__V1__ServerReflectionResponse_Closure write, void *closure_data) {
    const struct descriptors *descriptors = &server->descriptors;
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    Grpc__Reflection__V1__FileDescriptorResponse found = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    bool *added = memory_new(descriptors->n + 1, sizeof *added);
    ProtobufCBinaryData *files = memory_new(descriptors->n + 1, sizeof *files);
    if (index >= 0) {
        add_file(descriptors, index, added, files, &found.n_file_descriptor_proto);
        found.file_descriptor_proto = files;
        response->message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
        response->file_descriptor_response = &found;
    } else {
        answer_error(&error, RPC_NOT_FOUND, "not found", response);
    }
    write(response, closure_data);
    free(added);
    free(files);
}

static void write_error(int code, const char *text, reflection_response *response,
                        Grpc__Reflection__V1__ServerReflectionResponse_Closure write, void *closure_data) {
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    answer_error(&error, code, text, response);
    write(response, closure_data);
}

/* Runs when the client has left and reads no status any more, or when the server stops. */
static void end(void *call) {
    call_refuse(call, RPC_UNAVAILABLE, STOPPING_TEXT);
}

static void server_reflection_info(reflection_service *service, const reflection_request *input,
                                   Grpc__Reflection__V1__ServerReflectionResponse_Closure closure, void *closure_data) {
    if (!input) { /* the call has begun */
        rpc_call_on_cancel(rpc_call_of(closure_data), end, rpc_call_of(closure_data));
        return;
    }
    const struct rpc_server *server = ((struct version *)service)->server;
    const struct descriptors *descriptors = &server->descriptors;
    reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    response.valid_host = input->host;
    response.original_request = (reflection_request *)input;
    switch (input->message_request_case) {
    case REQUEST(LIST_SERVICES):
        write_services(server, &response, closure, closure_data);
        break;
    case REQUEST(FILE_BY_FILENAME):
        write_file(server, descriptors_file_named(descriptors, input->file_by_filename), &response, closure,
                   closure_data);
        break;
    case REQUEST(FILE_CONTAINING_SYMBOL):
        write_file(server, descriptors_file_defining(descriptors, input->file_containing_symbol), &response, closure,
                   closure_data);
        break;
    case REQUEST(FILE_CONTAINING_EXTENSION):
    case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
        write_error(RPC_NOT_FOUND, "no extensions are served", &response, closure, closure_data);
        break;
    default:
        write_error(RPC_INVALID_ARGUMENT, "the request asks for nothing", &response, closure, closure_data);
    }
}

bool rpc_reflection_add(struct rpc_server *server, struct err *err) {
    static const struct rpc_method methods[] = {{"ServerReflectionInfo", RPC_BIDI_STREAM}};
    struct reflection *reflection = memory_new(1, sizeof *reflection);
    /* Both services are in one object, which the server frees with the first. */
    const struct bridge_service first = {.object = reflection, .free = free}, second = {.object = reflection};
    reflection->v1alpha_descriptor = grpc__reflection__v1__server_reflection__descriptor;
    reflection->v1alpha_descriptor.name = "grpc.reflection.v1alpha.ServerReflection";
    reflection->v1alpha_descriptor.package = "grpc.reflection.v1alpha";
    grpc__reflection__v1__server_reflection__init(&reflection->v1.base, NULL);
    grpc__reflection__v1__server_reflection__init(&reflection->v1alpha.base, NULL);
    reflection->v1alpha.base.base.descriptor = &reflection->v1alpha_descriptor;
    reflection->v1.base.server_reflection_info = server_reflection_info;
    reflection->v1alpha.base.server_reflection_info = server_reflection_info;
    reflection->v1.server = reflection->v1alpha.server = server;
    if (!server_add(server, &reflection->v1.base.base, methods, 1, &first, err)) {
        free(reflection);
        return false;
    }
    return server_add(server, &reflection->v1alpha.base.base, methods, 1, &second, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "raw.h"
#include "rpc/descriptors.h"
#include "toy.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

#define REQUEST(kind)  GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##kind
#define RESPONSE(kind) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##kind

static struct toy *toy;
static struct raw raw;

static void open_version(const char *path) {
    toy = toy_new(NULL);
    raw_open(&raw, rpc_server_address(toy->server), path, NULL, NULL);
}

static void set_up(void) {
    open_version("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
}

static void tear_down(void) {
    raw_half_close(&raw);
    cr_assert_eq(raw_status(&raw), RPC_OK, "%s", raw.message);
    raw_close(&raw);
    toy_free(toy);
}

TestSuite(reflection, .init = set_up, .fini = tear_down);

/* The caller frees it by free_response. */
static reflection_response *ask(const reflection_request *request) {
    static unsigned char bytes[1 << 20];
    raw_send(&raw, bytes, protobuf_c_message_pack(&request->base, bytes));
    long len = raw_receive(&raw, bytes, sizeof bytes);
    cr_assert_geq(len, 0);
    reflection_response *response = grpc__reflection__v1__server_reflection_response__unpack(NULL, (size_t)len, bytes);
    cr_assert_neq(response, NULL);
    cr_assert_str_eq(response->valid_host, "host");
    cr_assert_eq(response->original_request->message_request_case, request->message_request_case);
    return response;
}

static void free_response(reflection_response *response) {
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

static reflection_response *ask_for(Grpc__Reflection__V1__ServerReflectionRequest__MessageRequestCase kind,
                                    const char *what) {
    reflection_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.host = "host";
    request.message_request_case = kind;
    request.list_services = (char *)what;
    return ask(&request);
}

/* How many files came. Checks that the last one is the one asked for, and that none comes before its imports. */
static size_t files_of(reflection_response *response, const char *last) {
    cr_assert_eq(response->message_response_case, RESPONSE(FILE_DESCRIPTOR_RESPONSE));
    const Grpc__Reflection__V1__FileDescriptorResponse *files = response->file_descriptor_response;
    size_t n = files->n_file_descriptor_proto;
    const char *names[100] = {0};
    Google__Protobuf__FileDescriptorProto *protos[100] = {0};
    cr_assert(n > 0 && n <= 100);
    for (size_t i = 0; i < n; i++) {
        const ProtobufCBinaryData *bytes = &files->file_descriptor_proto[i];
        protos[i] = google__protobuf__file_descriptor_proto__unpack(NULL, bytes->len, bytes->data);
        cr_assert_neq(protos[i], NULL);
        names[i] = protos[i]->name;
        for (size_t j = 0; j < protos[i]->n_dependency; j++) {
            bool found = false;
            for (size_t k = 0; k < i; k++)
                found |= strcmp(names[k], protos[i]->dependency[j]) == 0;
            cr_assert(found, "%s before %s", names[i], protos[i]->dependency[j]);
        }
    }
    cr_assert_str_eq(names[n - 1], last);
    for (size_t i = 0; i < n; i++)
        google__protobuf__file_descriptor_proto__free_unpacked(protos[i], NULL);
    free_response(response);
    return n;
}

static void assert_error(reflection_response *response, int code) {
    cr_assert_eq(response->message_response_case, RESPONSE(ERROR_RESPONSE));
    cr_assert_eq(response->error_response->error_code, code);
    free_response(response);
}

static void assert_lists_services(void) {
    reflection_response *response = ask_for(REQUEST(LIST_SERVICES), "*");
    cr_assert_eq(response->message_response_case, RESPONSE(LIST_SERVICES_RESPONSE));
    const Grpc__Reflection__V1__ListServiceResponse *list = response->list_services_response;
    const char *const names[] = {"toy.v1.Toy", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                 "grpc.reflection.v1alpha.ServerReflection"};
    cr_assert_eq(list->n_service, 4, "what is in the set but not served is not listed");
    for (size_t i = 0; i < 4; i++)
        cr_assert_str_eq(list->service[i]->name, names[i]);
    free_response(response);
}

Test(reflection, lists_the_services_that_were_added) {
    assert_lists_services();
}

Test(reflection, a_file_comes_by_its_name_with_all_that_it_imports) {
    cr_assert_eq(files_of(ask_for(REQUEST(FILE_BY_FILENAME), "toy.proto"), "toy.proto"), 1);
    cr_assert_gt(files_of(ask_for(REQUEST(FILE_BY_FILENAME), "coupon/v1/coupon_service.proto"),
                          "coupon/v1/coupon_service.proto"),
                 2);
    assert_error(ask_for(REQUEST(FILE_BY_FILENAME), "nothing.proto"), RPC_NOT_FOUND);
}

Test(reflection, a_file_comes_by_any_symbol_that_it_defines) {
    const char *const symbols[] = {
        "toy.v1.Toy",         "toy.v1.Toy.Chat",        "toy.v1.Note",      "toy.v1.Note.text",
        "toy.v1.Note.Label",  "toy.v1.Note.Label.name", "toy.v1.Note.Mood", "toy.v1.Note.MOOD_GOOD",
        "toy.v1.Note.choice", "toy.v1.Note.WordsEntry", ".toy.v1.Note",     "toy.v1.Note.Mood.MOOD_GOOD",
    };
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++)
        cr_assert_eq(files_of(ask_for(REQUEST(FILE_CONTAINING_SYMBOL), symbols[i]), "toy.proto"), 1, "%s", symbols[i]);
    files_of(ask_for(REQUEST(FILE_CONTAINING_SYMBOL), "grpc.health.v1.Health.Watch"), "grpc/health/v1/health.proto");
    const char *const none[] = {
        "",     "toy",          "toy.v1",       "toy.v1.No", "toy.v1.Toy.No",     "toy.v1.Note.no",
        "Note", "toy.v1.Note.", "toy.v1.Notes", ".",         "toy.v1.Note.text.x"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_error(ask_for(REQUEST(FILE_CONTAINING_SYMBOL), none[i]), RPC_NOT_FOUND);
}

Test(reflection, extensions_are_not_found) {
    assert_error(ask_for(REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE), "toy.v1.Note"), RPC_NOT_FOUND);
    Grpc__Reflection__V1__ExtensionRequest extension = GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
    extension.containing_type = "toy.v1.Note";
    reflection_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.host = "host";
    request.message_request_case = REQUEST(FILE_CONTAINING_EXTENSION);
    request.file_containing_extension = &extension;
    assert_error(ask(&request), RPC_NOT_FOUND);
}

Test(reflection, a_request_for_nothing_is_an_error_of_its_own) {
    reflection_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.host = "host";
    assert_error(ask(&request), RPC_INVALID_ARGUMENT);
}

Test(reflection, files_are_served_byte_by_byte_as_they_are_in_the_set) {
    reflection_response *response = ask_for(REQUEST(FILE_BY_FILENAME), "toy.proto");
    const ProtobufCBinaryData *file = &response->file_descriptor_response->file_descriptor_proto[0];
    size_t size;
    const unsigned char *set = toy_descriptor_set(&size);
    cr_assert_neq(memmem(set, size, file->data, file->len), NULL);
    free_response(response);
}

static void set_up_v1alpha(void) {
    open_version("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
}

TestSuite(reflection_v1alpha, .init = set_up_v1alpha, .fini = tear_down);

Test(reflection_v1alpha, answers_as_v1_does) {
    assert_lists_services();
    cr_assert_eq(files_of(ask_for(REQUEST(FILE_CONTAINING_SYMBOL), "toy.v1.Toy"), "toy.proto"), 1);
    assert_error(ask_for(REQUEST(FILE_CONTAINING_SYMBOL), "toy.v1.No"), RPC_NOT_FOUND);
}

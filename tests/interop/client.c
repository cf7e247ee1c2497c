/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_interop_client: gRPC's interoperability cases, run by the bridge's client.
 *
 *   rpc_interop_client --server HOST:PORT CASE...
 *
 * Prints "ok CASE", or "FAILED CASE: why", and exits with 1 if a case failed. gRPC's own description of these tests
 * defines the cases. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "methods.h"
#include "watched.h"

#define LARGE_REQUEST  271828
#define LARGE_RESPONSE 314159
#define SPECIAL_TEXT   "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP \xf0\x9f\x98\x88\t\n"

static const int32_t request_sizes[] = {27182, 8, 1828, 45904}, response_sizes[] = {31415, 9, 2653, 58979};
enum { SIZES = 4, REQUEST_BYTES = 27182 + 8 + 1828 + 45904 };

static ProtobufCService *test_service, *unimplemented_service;
static uint8_t zeros[LARGE_REQUEST];
static char why[500];

static bool fail(const char *what, const struct watched *watched) {
    snprintf(why, sizeof why, "%s; %zu messages, the first of %zu bytes%s; %s: %s", what, watched->n, watched->sizes[0],
             watched->compressed[0] ? ", compressed" : "", rpc_code_name(watched->code), watched->message);
    return false;
}

#define EXPECT(watched, ok)                                                                                            \
    do {                                                                                                               \
        if (!(ok))                                                                                                     \
            return fail("expected " #ok, watched);                                                                     \
    } while (0)

static Grpc__Testing__Payload payload_of(int32_t size) {
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    payload.body.data = zeros;
    payload.body.len = (size_t)size;
    return payload;
}

/* --- unary --- */

static bool empty_unary(void) {
    struct watched watched;
    watched_init(&watched);
    Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;
    grpc__testing__test_service__empty_call(test_service, &empty, watched_on_empty, &watched);
    watched_wait(&watched);
    EXPECT(&watched, watched.code == RPC_OK && watched.n == 1);
    return true;
}

/* Makes one of the large unary calls. A flag that is NULL is not set in the request. */
static void call_large(struct watched *watched, const bool *expect_compressed, const bool *response_compressed) {
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    Grpc__Testing__Payload payload = payload_of(LARGE_REQUEST);
    Grpc__Testing__BoolValue expect = GRPC__TESTING__BOOL_VALUE__INIT, response = GRPC__TESTING__BOOL_VALUE__INIT;
    request.response_size = LARGE_RESPONSE;
    request.payload = &payload;
    if (expect_compressed) {
        expect.value = *expect_compressed;
        request.expect_compressed = &expect;
    }
    if (response_compressed) {
        response.value = *response_compressed;
        request.response_compressed = &response;
    }
    grpc__testing__test_service__unary_call(test_service, &request, watched_on_simple, watched);
    watched_wait(watched);
}

static bool large_unary(void) {
    struct watched watched;
    watched_init(&watched);
    call_large(&watched, NULL, NULL);
    EXPECT(&watched, watched.code == RPC_OK && watched.n == 1 && watched.sizes[0] == LARGE_RESPONSE);
    return true;
}

static bool client_compressed_unary(void) {
    static const bool yes = true, no = false;
    struct watched lie, truth, plain;
    watched_init(&lie);
    call_large(&lie, &yes, NULL);
    EXPECT(&lie, lie.code == RPC_INVALID_ARGUMENT);
    watched_init(&truth);
    truth.call.compression = RPC_COMPRESSION_GZIP;
    call_large(&truth, &yes, NULL);
    EXPECT(&truth, truth.code == RPC_OK && truth.sizes[0] == LARGE_RESPONSE);
    watched_init(&plain);
    call_large(&plain, &no, NULL);
    EXPECT(&plain, plain.code == RPC_OK && plain.sizes[0] == LARGE_RESPONSE);
    return true;
}

static bool server_compressed_unary(void) {
    for (int i = 0; i < 2; i++) {
        const bool wanted = i == 0;
        struct watched watched;
        watched_init(&watched);
        call_large(&watched, NULL, &wanted);
        EXPECT(&watched, watched.code == RPC_OK && watched.n == 1 && watched.sizes[0] == LARGE_RESPONSE);
        EXPECT(&watched, watched.compressed[0] == wanted);
    }
    return true;
}

/* --- streams --- */

static bool write_input(struct watched *watched, int32_t size, const bool *expect_compressed) {
    Grpc__Testing__StreamingInputCallRequest request = GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
    Grpc__Testing__Payload payload = payload_of(size);
    Grpc__Testing__BoolValue expect = GRPC__TESTING__BOOL_VALUE__INIT;
    request.payload = &payload;
    if (expect_compressed) {
        expect.value = *expect_compressed;
        request.expect_compressed = &expect;
    }
    return rpc_client_call_write(&watched->call, &request.base);
}

static void open_stream(struct watched *watched, unsigned method) {
    ProtobufCClosure closure = method == STREAMING_INPUT_CALL ? (ProtobufCClosure)(void (*)(void))watched_on_input
                                                              : (ProtobufCClosure)(void (*)(void))watched_on_output;
    rpc_client_call_open(test_service, method, closure, &watched->call);
}

static bool client_streaming(void) {
    struct watched watched;
    watched_init(&watched);
    open_stream(&watched, STREAMING_INPUT_CALL);
    for (int i = 0; i < SIZES; i++)
        write_input(&watched, request_sizes[i], NULL);
    rpc_client_call_half_close(&watched.call);
    watched_wait(&watched);
    EXPECT(&watched, watched.code == RPC_OK && watched.n == 1 && watched.sizes[0] == REQUEST_BYTES);
    return true;
}

static bool client_compressed_streaming(void) {
    static const bool yes = true, no = false;
    struct watched lie, watched;
    watched_init(&lie);
    open_stream(&lie, STREAMING_INPUT_CALL);
    write_input(&lie, request_sizes[0], &yes);
    rpc_client_call_half_close(&lie.call);
    watched_wait(&lie);
    EXPECT(&lie, lie.code == RPC_INVALID_ARGUMENT);
    watched_init(&watched);
    watched.call.compression = RPC_COMPRESSION_GZIP;
    open_stream(&watched, STREAMING_INPUT_CALL);
    write_input(&watched, request_sizes[0], &yes);
    watched.call.compression = RPC_COMPRESSION_NONE;
    write_input(&watched, request_sizes[3], &no);
    rpc_client_call_half_close(&watched.call);
    watched_wait(&watched);
    EXPECT(&watched, watched.code == RPC_OK && watched.n == 1);
    EXPECT(&watched, watched.sizes[0] == (size_t)(request_sizes[0] + request_sizes[3]));
    return true;
}

/* Requests `n` responses of these sizes; `compressed` may be NULL. */
static void call_output(struct watched *watched, const int32_t *sizes, size_t n, const bool *compressed) {
    Grpc__Testing__StreamingOutputCallRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__ResponseParameters parameters[SIZES], *pointers[SIZES];
    Grpc__Testing__BoolValue flags[SIZES];
    for (size_t i = 0; i < n; i++) {
        grpc__testing__response_parameters__init(&parameters[i]);
        grpc__testing__bool_value__init(&flags[i]);
        parameters[i].size = sizes[i];
        if (compressed) {
            flags[i].value = compressed[i];
            parameters[i].compressed = &flags[i];
        }
        pointers[i] = &parameters[i];
    }
    request.n_response_parameters = n;
    request.response_parameters = pointers;
    grpc__testing__test_service__streaming_output_call(test_service, &request, watched_on_output, watched);
    watched_wait(watched);
}

static bool server_streaming(void) {
    struct watched watched;
    watched_init(&watched);
    call_output(&watched, response_sizes, SIZES, NULL);
    EXPECT(&watched, watched.code == RPC_OK && watched.n == SIZES);
    for (size_t i = 0; i < SIZES; i++)
        EXPECT(&watched, watched.sizes[i] == (size_t)response_sizes[i]);
    return true;
}

static bool server_compressed_streaming(void) {
    static const int32_t sizes[] = {31415, 92653};
    static const bool compressed[] = {true, false};
    struct watched watched;
    watched_init(&watched);
    call_output(&watched, sizes, 2, compressed);
    EXPECT(&watched, watched.code == RPC_OK && watched.n == 2);
    for (size_t i = 0; i < 2; i++)
        EXPECT(&watched, watched.sizes[i] == (size_t)sizes[i] && watched.compressed[i] == compressed[i]);
    return true;
}

static bool write_output(struct watched *watched, int32_t request_size, int32_t response_size,
                         Grpc__Testing__EchoStatus *status) {
    Grpc__Testing__StreamingOutputCallRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__ResponseParameters parameters = GRPC__TESTING__RESPONSE_PARAMETERS__INIT, *pointer = &parameters;
    Grpc__Testing__Payload payload = payload_of(request_size);
    parameters.size = response_size;
    request.payload = &payload;
    request.response_status = status;
    request.n_response_parameters = status ? 0 : 1;
    request.response_parameters = &pointer;
    return rpc_client_call_write(&watched->call, &request.base);
}

static bool ping_pong(void) {
    struct watched watched;
    watched_init(&watched);
    open_stream(&watched, FULL_DUPLEX_CALL);
    for (size_t i = 0; i < SIZES; i++) {
        EXPECT(&watched, write_output(&watched, request_sizes[i], response_sizes[i], NULL));
        size_t n = watched_wait_for_messages(&watched, i + 1);
        EXPECT(&watched, n == i + 1 && watched.sizes[i] == (size_t)response_sizes[i]);
    }
    rpc_client_call_half_close(&watched.call);
    watched_wait(&watched);
    EXPECT(&watched, watched.code == RPC_OK && watched.n == SIZES);
    return true;
}

static bool empty_stream(void) {
    struct watched watched;
    watched_init(&watched);
    open_stream(&watched, FULL_DUPLEX_CALL);
    rpc_client_call_half_close(&watched.call);
    watched_wait(&watched);
    EXPECT(&watched, watched.code == RPC_OK && watched.n == 0);
    return true;
}

/* --- cancelling and deadlines --- */

static bool cancel_after_begin(void) {
    struct watched watched;
    watched_init(&watched);
    open_stream(&watched, STREAMING_INPUT_CALL);
    rpc_client_call_cancel(&watched.call);
    watched_wait(&watched);
    EXPECT(&watched, watched.code == RPC_CANCELLED && watched.n == 0);
    return true;
}

static bool cancel_after_first_response(void) {
    struct watched watched;
    watched_init(&watched);
    open_stream(&watched, FULL_DUPLEX_CALL);
    EXPECT(&watched, write_output(&watched, request_sizes[0], response_sizes[0], NULL));
    watched_wait_for_messages(&watched, 1);
    rpc_client_call_cancel(&watched.call);
    watched_wait(&watched);
    EXPECT(&watched, watched.code == RPC_CANCELLED && watched.n == 1);
    return true;
}

static bool timeout_on_sleeping_server(void) {
    struct watched watched;
    watched_init(&watched);
    watched.call.timeout_ms = 1;
    open_stream(&watched, FULL_DUPLEX_CALL);
    write_output(&watched, request_sizes[0], response_sizes[0], NULL); /* the call may have ended already */
    watched_wait(&watched);
    EXPECT(&watched, watched.code == RPC_DEADLINE_EXCEEDED);
    return true;
}

/* --- metadata and statuses --- */

static bool has_echo(const struct watched *watched) {
    return strcmp(watched->header, "test_initial_metadata_value") == 0 && watched->trailer_len == 3 &&
           memcmp(watched->trailer, "\xab\xab\xab", 3) == 0;
}

static bool custom_metadata(void) {
    static const struct rpc_metadatum metadata[] = {
        {"x-grpc-test-echo-initial", "test_initial_metadata_value", 27},
        {"x-grpc-test-echo-trailing-bin", "\xab\xab\xab", 3},
    };
    struct watched unary, stream;
    watched_init(&unary);
    unary.call.metadata = metadata;
    unary.call.n_metadata = 2;
    call_large(&unary, NULL, NULL);
    EXPECT(&unary, unary.code == RPC_OK && unary.sizes[0] == LARGE_RESPONSE);
    EXPECT(&unary, has_echo(&unary));
    watched_init(&stream);
    stream.call.metadata = metadata;
    stream.call.n_metadata = 2;
    open_stream(&stream, FULL_DUPLEX_CALL);
    EXPECT(&stream, write_output(&stream, LARGE_REQUEST, LARGE_RESPONSE, NULL));
    rpc_client_call_half_close(&stream.call);
    watched_wait(&stream);
    EXPECT(&stream, stream.code == RPC_OK && stream.has_headers && has_echo(&stream));
    return true;
}

static void call_for_status(struct watched *watched, int code, char *text) {
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
    status.code = code;
    status.message = text;
    request.response_status = &status;
    watched_init(watched);
    grpc__testing__test_service__unary_call(test_service, &request, watched_on_simple, watched);
    watched_wait(watched);
}

static bool status_code_and_message(void) {
    static char text[] = "test status message";
    struct watched unary, stream;
    call_for_status(&unary, RPC_UNKNOWN, text);
    EXPECT(&unary, unary.code == RPC_UNKNOWN && strcmp(unary.message, text) == 0);
    Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
    status.code = RPC_UNKNOWN;
    status.message = text;
    watched_init(&stream);
    open_stream(&stream, FULL_DUPLEX_CALL);
    EXPECT(&stream, write_output(&stream, 0, 0, &status));
    rpc_client_call_half_close(&stream.call);
    watched_wait(&stream);
    EXPECT(&stream, stream.code == RPC_UNKNOWN && strcmp(stream.message, text) == 0);
    return true;
}

static bool special_status_message(void) {
    static char text[] = SPECIAL_TEXT;
    struct watched watched;
    call_for_status(&watched, RPC_UNKNOWN, text);
    EXPECT(&watched, watched.code == RPC_UNKNOWN && strcmp(watched.message, text) == 0);
    return true;
}

static bool expect_unimplemented(ProtobufCService *service, unsigned index) {
    struct watched watched;
    watched_init(&watched);
    Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;
    service->invoke(service, index, &empty.base, (ProtobufCClosure)(void (*)(void))watched_on_empty, &watched);
    watched_wait(&watched);
    EXPECT(&watched, watched.code == RPC_UNIMPLEMENTED && watched.n == 0);
    return true;
}

static bool unimplemented_method(void) {
    return expect_unimplemented(test_service, UNIMPLEMENTED_CALL);
}

static bool unimplemented_service_call(void) {
    return expect_unimplemented(unimplemented_service, 0);
}

/* --- the program --- */

static const struct {
    const char *name;
    bool (*run)(void);
} cases[] = {
    {"empty_unary", empty_unary},
    {"large_unary", large_unary},
    {"client_streaming", client_streaming},
    {"server_streaming", server_streaming},
    {"ping_pong", ping_pong},
    {"empty_stream", empty_stream},
    {"cancel_after_begin", cancel_after_begin},
    {"cancel_after_first_response", cancel_after_first_response},
    {"timeout_on_sleeping_server", timeout_on_sleeping_server},
    {"custom_metadata", custom_metadata},
    {"status_code_and_message", status_code_and_message},
    {"special_status_message", special_status_message},
    {"unimplemented_method", unimplemented_method},
    {"unimplemented_service", unimplemented_service_call},
    {"client_compressed_unary", client_compressed_unary},
    {"server_compressed_unary", server_compressed_unary},
    {"client_compressed_streaming", client_compressed_streaming},
    {"server_compressed_streaming", server_compressed_streaming},
};
#define CASES (sizeof cases / sizeof cases[0])

static bool run_case(const char *name) {
    for (size_t i = 0; i < CASES; i++)
        if (strcmp(cases[i].name, name) == 0) {
            bool ok = cases[i].run();
            printf(ok ? "ok %s\n" : "FAILED %s: %s\n", name, why);
            return ok;
        }
    printf("FAILED %s: there is no such case\n", name);
    return false;
}

int main(int argc, char **argv) {
    static const struct rpc_method unimplemented_methods[] = {{"UnimplementedCall", RPC_UNARY}};
    struct rpc_channel *channel;
    struct err err;
    if (argc < 4 || strcmp(argv[1], "--server") != 0) {
        fputs("usage: rpc_interop_client --server HOST:PORT CASE...\n", stderr);
        return 2;
    }
    if (!rpc_channel_new(argv[2], NULL, &channel, &err)) {
        fprintf(stderr, "rpc_interop_client: %s\n", err.text);
        return 2;
    }
    test_service = rpc_channel_service(channel, &grpc__testing__test_service__descriptor, test_service_methods,
                                       TEST_SERVICE_METHODS);
    unimplemented_service =
        rpc_channel_service(channel, &grpc__testing__unimplemented_service__descriptor, unimplemented_methods, 1);
    bool ok = true;
    for (int i = 3; i < argc; i++)
        ok &= run_case(argv[i]);
    rpc_channel_free(channel);
    return ok ? 0 : 1;
}

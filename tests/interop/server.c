/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_interop_server: gRPC's interoperability test service on the bridge.
 *
 *   rpc_interop_server --port N    port 0: a free one; prints "listening 127.0.0.1:PORT", ends on SIGTERM or SIGINT
 *
 * gRPC's own description of these tests defines what the services do. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/testing/test.pb-c.h"
#include "interop_descriptor_set.h"
#include "methods.h"
#include "output.h"
#include "rpc/server.h"

#define GRACE_MS 1000

/* --- metadata, and what requests ask for --- */

static void echo_metadata(struct rpc_call *call) {
    size_t len;
    const char *value = rpc_call_metadata(call, "x-grpc-test-echo-initial", &len);
    if (value)
        rpc_call_add_header(call, &(struct rpc_metadatum){"x-grpc-test-echo-initial", value, len});
    value = rpc_call_metadata(call, "x-grpc-test-echo-trailing-bin", &len);
    if (value)
        rpc_call_add_trailer(call, &(struct rpc_metadatum){"x-grpc-test-echo-trailing-bin", value, len});
}

/* Returns false if the message's compression contradicts expect_compressed; the call has then been failed. */
static bool came_as_expected(struct rpc_call *call, const Grpc__Testing__BoolValue *expect_compressed) {
    if (!expect_compressed || (expect_compressed->value != 0) == rpc_call_is_compressed(call))
        return true;
    rpc_call_fail(call, &(struct rpc_status){.code = RPC_INVALID_ARGUMENT,
                                             .message = "the request's compression is not as expected"});
    return false;
}

/* --- unary --- */

static void empty_call(Grpc__Testing__TestService_Service *service, const Grpc__Testing__Empty *input,
                       Grpc__Testing__Empty_Closure closure, void *closure_data) {
    (void)service, (void)input;
    Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;
    closure(&empty, closure_data);
}

static void unary_call(Grpc__Testing__TestService_Service *service, const Grpc__Testing__SimpleRequest *input,
                       Grpc__Testing__SimpleResponse_Closure closure, void *closure_data) {
    (void)service;
    struct rpc_call *call = rpc_call_of(closure_data);
    Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload;
    if (!came_as_expected(call, input->expect_compressed))
        return;
    echo_metadata(call);
    if (input->response_status && input->response_status->code != RPC_OK) {
        rpc_call_fail(call, &(struct rpc_status){.code = input->response_status->code,
                                                 .message = input->response_status->message});
        return;
    }
    if (!payload_init(&payload, input->response_size)) {
        rpc_call_fail(call, &(struct rpc_status){.code = RPC_INVALID_ARGUMENT, .message = "no such response_size"});
        return;
    }
    response.payload = &payload;
    if (input->response_compressed && input->response_compressed->value)
        rpc_call_set_compression(call, RPC_COMPRESSION_GZIP);
    closure(&response, closure_data);
}

static void unimplemented_call(Grpc__Testing__TestService_Service *service, const Grpc__Testing__Empty *input,
                               Grpc__Testing__Empty_Closure closure, void *closure_data) {
    (void)service, (void)input, (void)closure;
    rpc_call_fail(rpc_call_of(closure_data),
                  &(struct rpc_status){.code = RPC_UNIMPLEMENTED, .message = "the tests need an unimplemented method"});
}

/* --- streams --- */

static void streaming_output_call(Grpc__Testing__TestService_Service *service,
                                  const Grpc__Testing__StreamingOutputCallRequest *input,
                                  Grpc__Testing__StreamingOutputCallResponse_Closure closure, void *closure_data) {
    (void)service;
    struct rpc_call *call = rpc_call_of(closure_data);
    echo_metadata(call);
    struct output *output = output_new(call, (ProtobufCClosure)(void (*)(void))closure, false);
    rpc_call_ref(call);
    if (output_add(output, input))
        output_close(output);
    rpc_call_unref(call);
}

struct input {
    struct rpc_call *call;
    Grpc__Testing__StreamingInputCallResponse_Closure closure;
    int64_t bytes;
};

static void answer_input(void *arg) {
    struct input *input = arg;
    Grpc__Testing__StreamingInputCallResponse response = GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    response.aggregated_payload_size = (int32_t)input->bytes;
    input->closure(&response, input->call);
}

static void drop_input(void *arg) {
    struct input *input = arg;
    rpc_call_fail(input->call, &(struct rpc_status){.code = RPC_CANCELLED});
}

static void streaming_input_call(Grpc__Testing__TestService_Service *service,
                                 const Grpc__Testing__StreamingInputCallRequest *request,
                                 Grpc__Testing__StreamingInputCallResponse_Closure closure, void *closure_data) {
    (void)service;
    struct rpc_call *call = rpc_call_of(closure_data);
    if (!request) {
        struct input *input = rpc_call_alloc(call, sizeof *input);
        *input = (struct input){.call = call, .closure = closure};
        rpc_call_set_state(call, input);
        rpc_call_on_half_close(call, answer_input, input);
        rpc_call_on_cancel(call, drop_input, input);
        return;
    }
    struct input *input = rpc_call_state(call);
    if (came_as_expected(call, request->expect_compressed) && request->payload)
        input->bytes += (int64_t)request->payload->body.len;
}

static void duplex(const Grpc__Testing__StreamingOutputCallRequest *request,
                   Grpc__Testing__StreamingOutputCallResponse_Closure closure, struct rpc_call *call, bool held) {
    if (request) {
        output_add(rpc_call_state(call), request);
        return;
    }
    echo_metadata(call);
    rpc_call_set_state(call, output_new(call, (ProtobufCClosure)(void (*)(void))closure, held));
}

static void full_duplex_call(Grpc__Testing__TestService_Service *service,
                             const Grpc__Testing__StreamingOutputCallRequest *request,
                             Grpc__Testing__StreamingOutputCallResponse_Closure closure, void *closure_data) {
    (void)service;
    duplex(request, closure, rpc_call_of(closure_data), false);
}

static void half_duplex_call(Grpc__Testing__TestService_Service *service,
                             const Grpc__Testing__StreamingOutputCallRequest *request,
                             Grpc__Testing__StreamingOutputCallResponse_Closure closure, void *closure_data) {
    (void)service;
    duplex(request, closure, rpc_call_of(closure_data), true);
}

/* --- the program --- */

static bool start(const char *listen, struct rpc_server **ret_server, struct err *err) {
    static Grpc__Testing__TestService_Service service;
    grpc__testing__test_service__init(&service, NULL);
    service.empty_call = empty_call;
    service.unary_call = service.cacheable_unary_call = unary_call;
    service.streaming_output_call = streaming_output_call;
    service.streaming_input_call = streaming_input_call;
    service.full_duplex_call = full_duplex_call;
    service.half_duplex_call = half_duplex_call;
    service.unimplemented_call = unimplemented_call;
    const struct rpc_server_options options = {
        .listen = listen,
        .pollers = 2,
        .descriptor_set = interop_descriptor_set,
        .descriptor_set_size = interop_descriptor_set_size,
    };
    return rpc_server_new(&options, ret_server, err) &&
           rpc_server_add(*ret_server, &service.base, test_service_methods, TEST_SERVICE_METHODS, err) &&
           rpc_reflection_add(*ret_server, err) && rpc_server_start(*ret_server, err);
}

int main(int argc, char **argv) {
    char listen[40];
    if (argc != 3 || strcmp(argv[1], "--port") != 0) {
        fputs("usage: rpc_interop_server --port N\n", stderr);
        return 2;
    }
    snprintf(listen, sizeof listen, "127.0.0.1:%.10s", argv[2]);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    outputs_start();
    struct rpc_server *server = NULL;
    struct err err;
    bool ok = start(listen, &server, &err);
    if (ok) {
        int number;
        printf("listening %s\n", rpc_server_address(server));
        fflush(stdout);
        sigwait(&signals, &number);
        rpc_server_stop(server, GRACE_MS, NULL);
    } else {
        fprintf(stderr, "rpc_interop_server: %s\n", err.text);
    }
    outputs_stop();
    rpc_server_free(server);
    return ok ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The client of the bridge, apart from calls that simply succeed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "toy.h"

static Toy__V1__Note request(const char *text, int64_t number) {
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    note.text = (char *)text;
    note.number = number;
    return note;
}

static void count(const ProtobufCMessage *message, void *arg) {
    *(int64_t *)arg += ((const Toy__V1__Note *)message)->number;
}

Test(client, who_simply_waits_gets_messages_and_the_status) {
    struct toy *toy = toy_new(NULL);
    Toy__V1__Note note = request("", 10);
    int64_t sum = 0;
    struct rpc_status status = {.code = 99};
    cr_assert(rpc_client_call_wait(toy->stub, TOY_LIST, &note.base, 10000, &(struct rpc_reader){count, &sum}, &status));
    cr_assert_eq(sum, 45);
    cr_assert_eq(status.code, 99, "untouched");
    note = request("fail", 10);
    cr_assert_not(rpc_client_call_wait(toy->stub, TOY_LIST, &note.base, 10000, NULL, NULL));
    cr_assert_not(rpc_client_call_wait(toy->stub, TOY_ECHO, &note.base, 10000, NULL, &status));
    cr_assert_eq(status.code, RPC_ABORTED);
    cr_assert_str_eq(status.message, "no");
    cr_assert_eq(status.details_len, TOY_DETAILS_LEN);
    cr_assert_arr_eq(status.details, TOY_DETAILS, TOY_DETAILS_LEN);
    rpc_status_deinit(&status);
    toy_free(toy);
}

Test(client, the_generated_stub_functions_work) {
    struct toy *toy = toy_new(NULL);
    Toy__V1__Note note = request("", 10);
    struct rpc_status status;
    ProtobufCService *same = rpc_channel_service(toy->channel, &toy__v1__toy__descriptor, TOY_METHODS, 4);
    cr_assert_eq(same, toy->stub, "one service per descriptor");
    cr_assert(rpc_client_call_wait(same, TOY_ECHO, &note.base, 10000, NULL, &status));
    toy_free(toy);
}

Test(client, a_method_that_its_table_lacks_is_unimplemented) {
    struct toy *toy = toy_new(NULL);
    struct rpc_channel *channel;
    cr_assert(rpc_channel_new(rpc_server_address(toy->server), NULL, &channel, NULL));
    ProtobufCService *stub = rpc_channel_service(channel, &toy__v1__toy__descriptor, TOY_METHODS, 1);
    Toy__V1__Note note = request("", 0);
    struct rpc_status status;
    cr_assert_not(rpc_client_call_wait(stub, TOY_CHAT, &note.base, 10000, NULL, &status));
    cr_assert_eq(status.code, RPC_UNIMPLEMENTED);
    cr_assert_neq(strstr(status.message, "/toy.v1.Toy/Chat"), NULL, "%s", status.message);
    rpc_status_deinit(&status);
    rpc_channel_free(channel);
    toy_free(toy);
}

Test(client, a_server_that_is_not_there_is_unavailable) {
    struct toy *toy = toy_new(NULL);
    rpc_server_stop(toy->server, 0, NULL);
    struct toy_call *call = toy_call_run(toy, TOY_ECHO, "", 0);
    cr_assert_eq(call->code, RPC_UNAVAILABLE, "%s", call->message);
    toy_call_free(call);
    call = toy_call_run(toy, TOY_LIST, "", 0);
    cr_assert_eq(call->code, RPC_UNAVAILABLE, "%s", call->message);
    toy_call_free(call);
    toy_free(toy);
}

Test(client, a_response_that_is_too_large_is_refused) {
    struct toy *toy = toy_new(NULL);
    struct rpc_channel *narrow;
    const struct rpc_channel_options options = {.max_message_bytes = 100};
    cr_assert(rpc_channel_new(rpc_server_address(toy->server), &options, &narrow, NULL));
    ProtobufCService *stub = rpc_channel_service(narrow, &toy__v1__toy__descriptor, TOY_METHODS, 4);
    Toy__V1__Note note = request("", 3);
    uint8_t blob[200] = {0};
    note.blob = (ProtobufCBinaryData){.len = sizeof blob, .data = blob};
    for (unsigned method = TOY_ECHO; method <= TOY_LIST; method++) {
        struct rpc_status status = {0};
        cr_assert_not(rpc_client_call_wait(stub, method, &note.base, 10000, NULL, &status));
        cr_assert_eq(status.code, RPC_RESOURCE_EXHAUSTED, "%s", status.message);
        rpc_status_deinit(&status);
    }
    rpc_channel_free(narrow);
    toy_free(toy);
}

Test(client, a_response_that_cannot_be_decoded_is_an_internal_error) {
    struct toy *toy = toy_new(NULL);
    /* A service like the toy whose answers are Labels, which have a string where a Note has its number. */
    ProtobufCFieldDescriptor name = toy__v1__note__label__descriptor.fields[0];
    name.id = 2;
    const ProtobufCIntRange range[] = {{2, 0}, {0, 1}};
    ProtobufCMessageDescriptor label = toy__v1__note__label__descriptor;
    label.fields = &name;
    label.field_ranges = range;
    ProtobufCMethodDescriptor methods[4];
    memcpy(methods, toy__v1__toy__descriptor.methods, sizeof methods);
    methods[TOY_ECHO].output = methods[TOY_LIST].output = &label;
    ProtobufCServiceDescriptor other = toy__v1__toy__descriptor;
    other.methods = methods;
    ProtobufCService *stub = rpc_channel_service(toy->channel, &other, TOY_METHODS, 4);
    Toy__V1__Note note = request("", 3);
    for (unsigned method = TOY_ECHO; method <= TOY_LIST; method++) {
        struct rpc_status status = {0};
        cr_assert_not(rpc_client_call_wait(stub, method, &note.base, 10000, NULL, &status));
        cr_assert_eq(status.code, RPC_INTERNAL, "%s", status.message);
        cr_assert_str_eq(status.message, "cannot decode the response as toy.v1.Note.Label");
        rpc_status_deinit(&status);
    }
    toy_free(toy);
}

Test(client, freeing_a_channel_cancels_its_calls_and_waits_for_their_end) {
    struct toy *toy = toy_new(NULL);
    enum { CALLS = 20 };
    struct toy_call *calls[CALLS];
    for (int i = 0; i < CALLS; i++)
        calls[i] = toy_call_start(toy, i % 2 ? TOY_ECHO : TOY_LIST, "hold-obedient", 0, 0);
    rpc_channel_free(toy->channel);
    toy->channel = NULL;
    for (int i = 0; i < CALLS; i++) {
        cr_assert(toy_call_is_done(calls[i]));
        cr_assert_eq(calls[i]->code, RPC_CANCELLED, "%s", calls[i]->message);
        toy_call_free(calls[i]);
    }
    toy_free(toy);
}

static void free_call(struct rpc_client_call *call, const struct rpc_status *status) {
    int *code = call->arg;
    __atomic_store_n(code, status->code, __ATOMIC_RELEASE);
    free(call);
}

static void ignore(const ProtobufCMessage *message, void *closure_data) {
    (void)message;
    (void)closure_data;
}

Test(client, a_call_may_be_freed_when_it_is_done) {
    struct toy *toy = toy_new(NULL);
    int code = -1;
    struct rpc_client_call *call = calloc(1, sizeof *call);
    call->done = free_call;
    call->arg = &code;
    Toy__V1__Note note = request("", 0);
    toy->stub->invoke(toy->stub, TOY_ECHO, &note.base, ignore, call);
    toy_wait_for_ends(toy, RPC_OK, 1);
    rpc_channel_free(toy->channel);
    toy->channel = NULL;
    cr_assert_neq(__atomic_load_n(&code, __ATOMIC_ACQUIRE), -1);
    toy_free(toy);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A server is created, gets its services, and binds. */
#include <string.h>

#include "toy.h"

static struct rpc_server *server_with(const struct rpc_server_options *options) {
    struct rpc_server *server = NULL;
    struct err err;
    cr_assert(rpc_server_new(options, &server, &err), "%s", err.text);
    return server;
}

static struct rpc_server *server_on(const char *listen) {
    struct rpc_server_options options = toy_options(NULL);
    options.listen = listen;
    return server_with(&options);
}

Test(server, a_free_port_is_picked_and_told) {
    struct rpc_server *server = server_on("127.0.0.1:0");
    struct err err;
    cr_assert(rpc_server_start(server, &err), "%s", err.text);
    cr_assert_eq(strncmp(rpc_server_address(server), "127.0.0.1:", 10), 0);
    cr_assert_neq(strcmp(rpc_server_address(server), "127.0.0.1:0"), 0);
    rpc_server_stop(server, 0, NULL);
    rpc_server_free(server);
}

Test(server, a_port_in_use_is_said_to_be) {
    struct rpc_server *first = server_on("127.0.0.1:0");
    struct err err = {0};
    cr_assert(rpc_server_start(first, &err), "%s", err.text);
    struct rpc_server *second = server_on(rpc_server_address(first));
    cr_assert_not(rpc_server_start(second, &err));
    cr_assert_eq(err.code, ERR_CONFLICT);
    cr_assert_neq(strstr(err.text, rpc_server_address(first)), NULL, "%s", err.text);
    cr_assert_neq(strstr(err.text, "port is in use"), NULL, "%s", err.text);
    rpc_server_free(second);
    rpc_server_free(first);
}

Test(server, an_address_that_is_none_is_refused) {
    const char *const bad[] = {"nonsense",       "127.0.0.1",      "::1:50051", "no.such.host.invalid:50051",
                               "127.0.0.1:port", "192.0.2.1:50051"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rpc_server *server = server_on(bad[i]);
        struct err err = {0};
        cr_assert_not(rpc_server_start(server, &err), "%s", bad[i]);
        cr_assert_eq(err.code, ERR_INVALID, "%s", err.text);
        cr_assert_neq(strstr(err.text, bad[i]), NULL, "%s", err.text);
        rpc_server_free(server);
    }
}

Test(server, a_server_that_never_started_can_be_freed) {
    rpc_server_free(NULL);
    struct rpc_server *server = server_on("127.0.0.1:0");
    rpc_server_stop(server, 1000, NULL);
    rpc_server_free(server);
}

/* Adds the toy with a table of methods, and returns why that fails. */
static const char *refusal_of(const struct rpc_method *methods, size_t n) {
    static struct err err;
    static Toy__V1__Toy_Service service;
    toy__v1__toy__init(&service, NULL);
    struct rpc_server *server = server_on("127.0.0.1:0");
    err = (struct err){0};
    if (rpc_server_add(server, &service.base, methods, n, &err))
        strcpy(err.text, "none");
    else
        cr_assert_eq(err.code, ERR_INVALID);
    rpc_server_free(server);
    return err.text;
}

Test(server, a_table_that_says_another_shape_than_the_descriptor_set_is_refused) {
    struct rpc_method methods[5];
    memcpy(methods, TOY_METHODS, sizeof TOY_METHODS);
    cr_assert_str_eq(refusal_of(methods, 4), "none");
    methods[TOY_LIST].shape = RPC_UNARY;
    cr_assert_str_eq(refusal_of(methods, 4),
                     "toy.v1.Toy.List is a server stream in the descriptor set but a unary in its table");
    methods[TOY_LIST].shape = RPC_SERVER_STREAM;
    methods[TOY_CHAT].shape = RPC_CLIENT_STREAM;
    cr_assert_str_eq(refusal_of(methods, 4),
                     "toy.v1.Toy.Chat is a bidi stream in the descriptor set but a client stream in its table");
}

Test(server, a_table_that_lacks_a_method_or_has_an_unknown_one_is_refused) {
    cr_assert_str_eq(refusal_of(TOY_METHODS, 3), "the table of toy.v1.Toy lacks its method Chat");
    struct rpc_method methods[5];
    memcpy(methods, TOY_METHODS, sizeof TOY_METHODS);
    methods[4] = (struct rpc_method){"Sing", RPC_UNARY};
    cr_assert_str_eq(refusal_of(methods, 5), "the table of toy.v1.Toy has Sing, which is none of its methods");
}

Test(server, a_service_that_is_not_in_the_descriptor_set_is_refused) {
    struct rpc_server_options options = toy_options(NULL);
    options.descriptor_set = NULL;
    struct rpc_server *server = server_with(&options);
    static Toy__V1__Toy_Service service;
    toy__v1__toy__init(&service, NULL);
    struct err err = {0};
    cr_assert_not(rpc_server_add(server, &service.base, TOY_METHODS, 4, &err));
    cr_assert_str_eq(err.text, "the descriptor set lacks the service toy.v1.Toy");
    cr_assert_eq(rpc_health_add(server, &err), NULL);
    cr_assert_not(rpc_reflection_add(server, &err));
    rpc_server_free(server);
}

Test(server, a_service_can_be_added_once) {
    struct rpc_server *server = server_on("127.0.0.1:0");
    static Toy__V1__Toy_Service service;
    toy__v1__toy__init(&service, NULL);
    struct err err = {0};
    cr_assert(rpc_server_add(server, &service.base, TOY_METHODS, 4, &err));
    cr_assert_not(rpc_server_add(server, &service.base, TOY_METHODS, 4, &err));
    cr_assert_eq(err.code, ERR_CONFLICT);
    rpc_server_free(server);
}

Test(server, a_damaged_descriptor_set_is_refused) {
    struct rpc_server_options options = toy_options(NULL);
    struct rpc_server *server;
    struct err err = {0};
    options.descriptor_set_size -= 1;
    cr_assert_not(rpc_server_new(&options, &server, &err));
    cr_assert_eq(err.code, ERR_INVALID);
    options.descriptor_set = (const unsigned char *)"\x12\x00";
    options.descriptor_set_size = 2;
    cr_assert_not(rpc_server_new(&options, &server, &err));
}

Test(server, every_code_has_its_name) {
    cr_assert_str_eq(rpc_code_name(RPC_OK), "OK");
    cr_assert_str_eq(rpc_code_name(RPC_RESOURCE_EXHAUSTED), "RESOURCE_EXHAUSTED");
    cr_assert_str_eq(rpc_code_name(RPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    cr_assert_str_eq(rpc_code_name(17), "UNKNOWN");
    cr_assert_str_eq(rpc_code_name(-1), "UNKNOWN");
}

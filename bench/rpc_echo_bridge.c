/* SPDX-License-Identifier: Apache-2.0 */
/* An echo server on the bridge. */
#include <stdlib.h>

#include "rpc/server.h"
#include "rpc_echo.h"
#include "toy.pb-c.h"

static const struct rpc_method METHODS[] = {
    {"Echo", RPC_UNARY},
    {"List", RPC_SERVER_STREAM},
    {"Collect", RPC_CLIENT_STREAM},
    {"Chat", RPC_BIDI_STREAM},
};

static void echo(Toy__V1__Toy_Service *service, const Toy__V1__Note *input, Toy__V1__Note_Closure closure,
                 void *closure_data) {
    (void)service;
    echo_count();
    closure(input, closure_data);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s DESCRIPTOR_SET\n", argv[0]);
        return 2;
    }
    static unsigned char set[1 << 20];
    FILE *file = fopen(argv[1], "rb");
    size_t size = file ? fread(set, 1, sizeof set, file) : 0;
    if (file)
        fclose(file);
    sigset_t signals;
    echo_block_signals(&signals);
    Toy__V1__Toy_Service service = {.base = TOY__V1__TOY__BASE_INIT, .echo = echo};
    struct rpc_server_options options = {
        .listen = "127.0.0.1:0",
        .pollers = 1,
        .max_concurrent_streams = ECHO_STREAMS_MAX,
        .descriptor_set = set,
        .descriptor_set_size = size,
    };
    struct rpc_server *server;
    struct err err;
    if (!rpc_server_new(&options, &server, &err) ||
        !rpc_server_add(server, &service.base, METHODS, sizeof METHODS / sizeof *METHODS, &err) ||
        !rpc_server_start(server, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    echo_serve(&signals, rpc_server_address(server));
    rpc_server_stop(server, 0, NULL);
    rpc_server_free(server);
    return 0;
}

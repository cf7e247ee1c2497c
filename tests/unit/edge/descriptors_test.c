/* SPDX-License-Identifier: Apache-2.0 */
/* A server that has run out of file descriptors. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "toy.h"

static void expect(struct toy *toy, const char *text, int code) {
    struct toy_call *call = toy_call_run(toy, TOY_ECHO, text, 0);
    cr_assert_eq(call->code, code, "%s: %s", text, call->message);
    toy_call_free(call);
}

static int connect_to(const char *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* The client's ends of the connections take descriptors of this process as well, so these are used up twice as fast. */
Test(descriptors, a_server_without_file_descriptors_goes_on_when_there_are_some_again) {
    enum { FILES = 300 };
    struct rlimit few = {.rlim_cur = FILES, .rlim_max = FILES};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct toy *toy = toy_new(NULL);
    expect(toy, "before", RPC_OK);
    int fds[FILES], n = 0;
    while (n < FILES && (fds[n] = connect_to(rpc_server_address(toy->server))) >= 0)
        n++;
    cr_assert_lt(n, FILES, "the limit was reached");
    for (int tries = 0; rpc_connections_refused() == 0 && tries < 1000; tries++)
        expect(toy, "meanwhile", RPC_OK);
    cr_assert_gt(rpc_connections_refused(), 0);
    while (n > 0)
        close(fds[--n]);
    struct rpc_channel *channel = NULL;
    cr_assert(rpc_channel_new(rpc_server_address(toy->server), NULL, &channel, NULL));
    ProtobufCService *stub = rpc_channel_service(channel, &toy__v1__toy__descriptor, TOY_METHODS, 4);
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    struct rpc_status status = {0};
    bool ok = false;
    /* The server closes its ends a little later. */
    for (int tries = 0; !ok && tries < 200; tries++) {
        ok = rpc_client_call_wait(stub, TOY_ECHO, &note.base, TOY_WAIT_MS, NULL, &status);
        if (!ok)
            rpc_status_deinit(&status);
        if (!ok)
            usleep(10000);
    }
    cr_assert(ok, "a new connection after the flood");
    rpc_channel_free(channel);
    toy_free(toy);
}

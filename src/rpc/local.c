/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/local.h"

#include <errno.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "rpc/operation.h"
#include "rpc/server_internal.h"

void rpc_local_peer(const struct rpc_server *server, const char *peer, char ret_value[static RPC_LOCAL_PEER_SIZE]) {
    snprintf(ret_value, RPC_LOCAL_PEER_SIZE, "%s %s", server->local_key, peer);
}

bool rpc_channel_new_local(struct rpc_server *server, struct rpc_channel **ret_channel, struct err *err) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        return err_set(err, ERR_INTERNAL, BACKEND_NONE, "can't make a pair of sockets: %s", strerror(errno));
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    grpc_server_add_channel_from_fd(server->core, ends[0], credentials);
    grpc_server_credentials_release(credentials);
    *ret_channel = channel_of_socket(ends[1], &server->pollers[0].base);
    return true;
}

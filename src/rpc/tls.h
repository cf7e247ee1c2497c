/* SPDX-License-Identifier: Apache-2.0 */
/* TLS credentials of servers and channels, from PEM files. */
#pragma once

#include "base/err.h"
#include "rpc/core.h"
#include "rpc/rpc.h"
#include <stdbool.h>

struct tls_server;
/* Copies the strings; reads no file yet. */
bool tls_server_new(const struct rpc_tls *files, void (*on_reload)(void *arg, const struct err *err),
                    void *on_reload_arg, struct tls_server **ret_tls, struct err *err);
/* Reads the files. NULL: they can't be used. The credentials use `tls`, which must outlive them. */
grpc_server_credentials *tls_server_credentials(struct tls_server *tls, struct err *err);
void tls_server_free(struct tls_server *tls);
/* Reads the files. NULL: they can't be used. */
grpc_channel_credentials *tls_client_credentials(const struct rpc_tls *files, struct err *err);

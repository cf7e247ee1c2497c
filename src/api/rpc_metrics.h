/* SPDX-License-Identifier: Apache-2.0 */
/* RPCs by method and code, with latency histograms by method. */
#pragma once

#include <stdint.h>

/* Registers the methods of our services; before the server starts. */
void rpc_metrics_register(void);
struct rpc_server;
/* Shows how many calls it has in flight; NULL before it is freed. */
void rpc_metrics_watch(const struct rpc_server *server);
/* For rpc_server_options.on_call_end; calls of other services (health, reflection) count under their own names as
 * method "other". */
void rpc_metrics_on_call_end(void *arg, const char *service, const char *method, int code, int64_t us);

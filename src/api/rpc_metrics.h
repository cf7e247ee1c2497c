/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of calls: counts by method and code, latency histograms by method, connections, and calls in flight. */
#pragma once

#include <stdint.h>

/* Registers the metrics of all methods. Call it before the server starts. */
void rpc_metrics_register(void);
struct rpc_server;
/* Shows the server's calls in flight. Call it with NULL before the server is freed. */
void rpc_metrics_watch(const struct rpc_server *server);
/* The `on_call_end` of rpc_server_options. Calls of other services (health, reflection) and of unknown methods count as
 * service "" and method "other". Any thread. */
void rpc_metrics_on_call_end(void *arg, const char *service, const char *method, int code, int64_t us);
/* Counts n calls that were refused before the core read them; they count as ended at once. Any thread. */
void rpc_metrics_count_early(const char *service, const char *method, int code, int64_t n);

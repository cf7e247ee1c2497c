/* The HTTP side: /metrics (Prometheus text), /healthz (the process is alive), /readyz (it serves). libmicrohttpd, one
 * thread of its own. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct http_server;

/* `listen`: "HOST:PORT" with an IP address or localhost; "[::1]:0" works; port 0 picks a free one. `is_ready(arg)` is
 * called on the HTTP thread for each /readyz; while false it writes why into `why` and the answer is 503 with that. */
bool http_server_new(const char *listen, bool (*is_ready)(void *arg, char why[static 200]), void *arg,
                     struct http_server **ret_server, struct err *err);
const char *http_server_address(const struct http_server *server);
void http_server_free(struct http_server *server);

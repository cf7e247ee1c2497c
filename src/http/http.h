/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP side, for operators: /metrics (Prometheus text), /healthz (the process is alive), and /readyz (the
 * process serves). libmicrohttpd serves all connections on one thread of its own. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct http_server;

/* The size of the line that /readyz answers. */
#define HTTP_READY_SIZE 400

/* Starts serving. Fails if the address is invalid or in use.
 *
 *   - `listen` is "HOST:PORT". HOST is an IP address or localhost, e.g. "[::1]:0". Port 0 picks a free port.
 *   - `is_ready(arg, text)` runs on the HTTP thread for each request of /readyz, and must not block. It writes one line
 *     into `text`. The response is that line, with the status 200 if is_ready returns true, and 503 otherwise. */
bool http_server_new(const char *listen, bool (*is_ready)(void *arg, char text[static HTTP_READY_SIZE]), void *arg,
                     struct http_server **ret_server, struct err *err);
const char *http_server_address(const struct http_server *server);
void http_server_free(struct http_server *server);

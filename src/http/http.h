/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP side, for operators: /metrics (Prometheus text), /healthz (the process is alive), /readyz (the process
 * serves), and what a handler adds. libmicrohttpd serves all connections on one thread of its own. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "http/request.h"

struct http_server;

/* The size of the line that /readyz answers. */
#define HTTP_READY_SIZE 400

struct http_options {
    const char *listen; /* "HOST:PORT". HOST is an IP address or localhost, e.g. "[::1]:0". Port 0 picks a free port. */
    const char *tls_certificate, *tls_key; /* PEM files, both or none (NULL); read once */
    void *arg;                             /* of the functions below */
    /* Runs on the HTTP thread for each request of /readyz, and must not block. It writes one line into `text`. The
     * response is that line, with the status 200 if is_ready returns true, and 503 otherwise. */
    bool (*is_ready)(void *arg, char text[static HTTP_READY_SIZE]);
    /* Runs on the HTTP thread for requests of other paths, and must not block. NULL, or false: there is no such
     * path. */
    bool (*handle)(void *arg, struct http_request *request);
};

/* Starts serving. Fails if the address is invalid or in use, or the files cannot be used. The strings of `options` need
 * not outlive the call. */
bool http_server_new(const struct http_options *options, struct http_server **ret_server, struct err *err);
const char *http_server_address(const struct http_server *server);
/* All deferred requests must have been answered, and all streams have ended. Waits a moment for the last answers to be
 * sent. NULL is fine. */
void http_server_free(struct http_server *server);

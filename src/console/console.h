/* SPDX-License-Identifier: Apache-2.0 */
/* The console: pages for operators on the HTTP side, made of embedded files, and the JSON and events that they ask for.
 *
 *   /console/…                              the page and its files
 *   /console/api/me                         what the caller may do
 *   /console/api/stream                     server-sent events (console/feed.h)
 *   /console/api/coupons, /tickets          pages of rows (console/records.h)
 *   /console/api/call/SERVICE/METHOD        a unary method of couponsd (console/calls.h); POST if it changes something
 *
 * Access. The rules are those of gRPC: the token in the header authorization decides. Three more rules are for
 * browsers:
 *
 *   - Without TLS, only clients on loopback are served, and only by a name of loopback. Otherwise a page from elsewhere
 *     could let its own name stand for 127.0.0.1, and read what the console shows.
 *   - Requests that another site's page has sent are refused.
 *   - Where no role is configured, nothing can be changed here, and other machines see nothing: a browser is easier to
 *     trick than couponctl. */
#pragma once

#include <stdbool.h>

#include "api/access.h"
#include "flow/context.h"
#include "http/http.h"
#include "rpc/server.h"

struct console;

struct console_options {
    struct context *context;
    struct access *access;
    struct rpc_server *rpc;
    const char *grpc_address, *http_address; /* must outlive the console */
    void *arg;                               /* of the functions below */
    /* Of http_options. */
    bool (*is_ready)(void *arg, char text[static HTTP_READY_SIZE]);
    /* Whether the backend fails at present, as far as somebody asks it all the time; `text` gets the reason. Must not
     * block. */
    bool (*has_failed)(void *arg, enum backend backend, char text[static HTTP_READY_SIZE]);
};

/* Starts its threads. */
bool console_start(const struct console_options *options, struct console **ret_console, struct err *err);
/* Ends the streams, and answers what waits; later requests are answered 503. Waits for calls that are in flight for a
 * moment. Before the rpc server stops. NULL is fine. */
void console_stop(struct console *console);
/* Then ends the last thread, which may be reading. Before http_server_free. NULL is fine. */
void console_join(struct console *console);
/* After http_server_free. NULL is fine. */
void console_free(struct console *console);
/* Answers a request of the console; false: there is no such path. `console` NULL: couponsd is starting. On the HTTP
 * thread. */
bool console_handle(struct console *console, struct http_request *request);

/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request, for the handler of http.h. It has to be answered exactly once: by the handler, on the HTTP thread,
 * or later by any thread, if the handler has called http_request_defer. Do not use a request after its answer, a stream
 * excepted. Bodies of requests are skipped; what they ask for is in the path and the query.
 *
 * Strings live as long as the request. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct http_request;

const char *http_request_method(const struct http_request *request); /* "GET", "HEAD" or "POST" */
const char *http_request_path(const struct http_request *request);
/* NULL: absent. */
const char *http_request_header(const struct http_request *request, const char *name);
const char *http_request_query(const struct http_request *request, const char *name);
/* Calls see() for each parameter of the query, until it returns false. `value` is NULL where there is no "=". */
void http_request_each_query(const struct http_request *request,
                             bool (*see)(void *arg, const char *name, const char *value), void *arg);
bool http_request_has_tls(const struct http_request *request);
/* Whether the client's address is one of loopback. */
bool http_request_is_from_loopback(const struct http_request *request);
/* Writes the client's address as gRPC does: "ipv4:127.0.0.1:5000". */
#define HTTP_PEER_SIZE 80
void http_request_peer(const struct http_request *request, char ret[static HTTP_PEER_SIZE]);

struct http_header {
    const char *name, *value;
};
struct http_response {
    unsigned status;
    const char *content_type;
    const char *body; /* copied, unless it is static */
    size_t len;
    bool is_static;
    const struct http_header *headers; /* copied */
    size_t n_headers;
};
void http_respond(struct http_request *request, const struct http_response *response);
/* From the handler: another thread will answer. */
void http_request_defer(struct http_request *request);

/* Answers 200 with a body that comes bit by bit, and has no end until `read` says so.
 *
 * read() runs on the HTTP thread. It fills up to `max` bytes and returns their number; -1: the end. If there is nothing
 * to be sent at present, it calls http_request_pause and returns 0, and is called again after http_request_resume. The
 * caller's lock around its pause and resume makes sure that no resume is missed. close() runs once, when the client has
 * gone or the body has ended; the request is gone after it. */
struct http_stream {
    const char *content_type;
    ssize_t (*read)(void *arg, char *room, size_t max);
    void (*close)(void *arg);
    void *arg;
    const struct http_header *headers; /* copied */
    size_t n_headers;
};
void http_respond_stream(struct http_request *request, const struct http_stream *stream);
void http_request_pause(struct http_request *request);
void http_request_resume(struct http_request *request); /* any thread */

/* SPDX-License-Identifier: Apache-2.0 */
/* Requests; see request.h. libmicrohttpd calls handle() in http.c again after a request was resumed; then its answer is
 * there. */
#include "http/request.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "http/request_internal.h"

struct http_request *http_request_new(struct MHD_Connection *connection, const char *method, const char *path) {
    struct http_request *request = memory_new(1, sizeof *request);
    request->connection = connection;
    request->method = method;
    request->path = path;
    return request;
}

void http_request_end(struct http_request *request) {
    if (request->response)
        MHD_destroy_response(request->response);
    if (request->stream.close)
        request->stream.close(request->stream.arg);
    free(request);
}

/* --- what it asks for --- */

const char *http_request_method(const struct http_request *request) {
    return request->method;
}

const char *http_request_path(const struct http_request *request) {
    return request->path;
}

const char *http_request_header(const struct http_request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_request_query(const struct http_request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

struct each {
    bool (*see)(void *arg, const char *name, const char *value);
    void *arg;
};

static enum MHD_Result see_value(void *arg, enum MHD_ValueKind kind, const char *name, const char *value) {
    const struct each *each = arg;
    (void)kind;
    return each->see(each->arg, name, value) ? MHD_YES : MHD_NO;
}

void http_request_each_query(const struct http_request *request,
                             bool (*see)(void *arg, const char *name, const char *value), void *arg) {
    struct each each = {see, arg};
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, see_value, &each);
}

/* --- who asks --- */

bool http_request_has_tls(const struct http_request *request) {
    return request->has_tls;
}

static const struct sockaddr *address_of(const struct http_request *request) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : NULL;
}

bool http_request_is_from_loopback(const struct http_request *request) {
    const struct sockaddr *address = address_of(request);
    if (!address)
        return false;
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *host = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(host) || (IN6_IS_ADDR_V4MAPPED(host) && host->s6_addr[12] == 127);
}

void http_request_peer(const struct http_request *request, char ret[static HTTP_PEER_SIZE]) {
    const struct sockaddr *address = address_of(request);
    char host[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    bool is_v6 = address && address->sa_family == AF_INET6, is_mapped = is_v6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    if (is_v6 && !is_mapped)
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    else if (address)
        inet_ntop(AF_INET, is_mapped ? (const void *)&v6->sin6_addr.s6_addr[12] : &v4->sin_addr, host, sizeof host);
    unsigned port = !address ? 0 : ntohs(is_v6 ? v6->sin6_port : v4->sin_port);
    snprintf(ret, HTTP_PEER_SIZE, is_v6 && !is_mapped ? "ipv6:%%5B%s%%5D:%u" : "ipv4:%s:%u", host, port);
}

/* --- the answer --- */

/* The response is the request's from now on. NULL: out of memory; libmicrohttpd closes the connection. */
static void answer(struct http_request *request, unsigned status, const char *content_type,
                   struct MHD_Response *response, const struct http_header *headers, size_t n_headers) {
    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    for (size_t i = 0; i < n_headers && response; i++)
        MHD_add_response_header(response, headers[i].name, headers[i].value);
    request->response = response;
    request->status = status;
    bool is_deferred = request->is_deferred;
    struct MHD_Connection *connection = request->connection;
    atomic_store(&request->is_answered, true);
    if (is_deferred)
        MHD_resume_connection(connection);
}

void http_respond(struct http_request *request, const struct http_response *response) {
    answer(request, response->status, response->content_type,
           MHD_create_response_from_buffer(response->len, (void *)(uintptr_t)response->body,
                                           response->is_static ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_COPY),
           response->headers, response->n_headers);
}

void http_request_defer(struct http_request *request) {
    request->is_deferred = true;
    MHD_suspend_connection(request->connection);
}

static ssize_t read_stream(void *arg, uint64_t at, char *room, size_t max) {
    struct http_request *request = arg;
    (void)at;
    ssize_t n = request->stream.read(request->stream.arg, room, max);
    return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

#define STREAM_BLOCK 16384

void http_respond_stream(struct http_request *request, const struct http_stream *stream) {
    request->stream = *stream;
    answer(request, MHD_HTTP_OK, stream->content_type,
           MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, request, NULL),
           stream->headers, stream->n_headers);
}

void http_request_pause(struct http_request *request) {
    MHD_suspend_connection(request->connection);
}

void http_request_resume(struct http_request *request) {
    MHD_resume_connection(request->connection);
}

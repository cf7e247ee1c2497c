/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP side; see http.h.
 *
 * libmicrohttpd runs one thread, which accepts, reads and responds. handle() and the functions that it calls run on
 * that thread, and must not block: one slow answer would delay all others. We create the listening socket ourselves,
 * because libmicrohttpd does not report why an address fails. */
#include "http/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/metrics.h"
#include "base/strbuf.h"

/* Scrapers and probes need few connections. The other file descriptors are for gRPC. One address gets only a part, so
 * that idle connections of one client do not keep the probes of others waiting. */
#define CONNECTION_LIMIT     64
#define ADDRESS_LIMIT        24
#define CONNECTION_TIMEOUT_S 10
#define BACKLOG              64
#define TEXT_PLAIN           "text/plain; charset=utf-8"
#define TEXT_METRICS         "text/plain; version=0.0.4"

struct http_server {
    struct MHD_Daemon *daemon;
    char address[80]; /* with the port that is bound */
    bool (*is_ready)(void *arg, char text[static HTTP_READY_SIZE]);
    void *arg;
};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *content_type,
                               struct MHD_Response *response) {
    if (!response)
        return MHD_NO; /* out of memory: libmicrohttpd closes the connection */
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* Responds with one line of text, and adds the newline. */
static enum MHD_Result respond_line(struct MHD_Connection *connection, unsigned status, const char *text) {
    char line[256];
    int len = snprintf(line, sizeof line, "%.250s\n", text);
    return respond(connection, status, TEXT_PLAIN,
                   MHD_create_response_from_buffer((size_t)len, line, MHD_RESPMEM_MUST_COPY));
}

static enum MHD_Result respond_metrics(struct MHD_Connection *connection) {
    struct strbuf text = {0};
    strbuf_puts(&text, "");
    metrics_render(&text);
    struct MHD_Response *response = MHD_create_response_from_buffer(text.len, text.data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        strbuf_deinit(&text);
    return respond(connection, MHD_HTTP_OK, TEXT_METRICS, response);
}

static enum MHD_Result respond_ready(struct MHD_Connection *connection, const struct http_server *server) {
    char text[HTTP_READY_SIZE] = "";
    bool is_ready = server->is_ready(server->arg, text);
    return respond_line(connection, is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, text);
}

/* MHD_AccessHandlerCallback. */
static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload_data, size_t *upload_data_size,
                              void **connection_state) {
    (void)version, (void)upload_data;
    const struct http_server *server = arg;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return respond_line(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are served here");

    /* libmicrohttpd first calls with the headers alone. A response at this point would end the connection. */
    if (!*connection_state) {
        *connection_state = connection;
        return MHD_YES;
    }
    if (*upload_data_size > 0) { /* skip the body of a GET */
        *upload_data_size = 0;
        return MHD_YES;
    }
    if (strcmp(url, "/metrics") == 0)
        return respond_metrics(connection);
    if (strcmp(url, "/healthz") == 0)
        return respond_line(connection, MHD_HTTP_OK, "ok");
    if (strcmp(url, "/readyz") == 0)
        return respond_ready(connection, server);
    return respond_line(connection, MHD_HTTP_NOT_FOUND, "not found; there are /metrics, /healthz and /readyz");
}

/* Splits "HOST:PORT", and resolves HOST without a name server. */
static bool resolve(const char *listen_at, struct sockaddr_storage *ret_address, socklen_t *ret_len, struct err *err) {
    char host[64];
    const char *colon = strrchr(listen_at, ':');
    size_t host_len = colon ? (size_t)(colon - listen_at) : 0;
    if (!colon || host_len == 0 || host_len >= sizeof host)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "can't serve HTTP on \"%s\"; expected HOST:PORT", listen_at);
    memcpy(host, listen_at, host_len);
    host[host_len] = '\0';

    char *name = host;
    if (host[0] == '[' && host[host_len - 1] == ']') {
        host[host_len - 1] = '\0';
        name++;
    } else if (strcmp(host, "localhost") == 0) {
        name = "127.0.0.1";
    }
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int rc = getaddrinfo(name, colon + 1, &hints, &found);
    if (rc != 0)
        return err_set(err, ERR_INVALID, BACKEND_NONE,
                       "can't serve HTTP on \"%s\": %s; expected an IP address or localhost, and a port", listen_at,
                       gai_strerror(rc));
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

/* Returns a listening socket, or -1. */
static int open_socket(const char *listen_at, struct err *err) {
    struct sockaddr_storage address = {0};
    socklen_t len = 0;
    if (!resolve(listen_at, &address, &len, err))
        return -1;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    /* Without SO_REUSEADDR, a restart would have to wait until the previous process's connections time out. */
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    err_set(err, ERR_CONFLICT, BACKEND_NONE, "can't serve HTTP on %s: %s", listen_at, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static void format_address(int fd, char text[static 80]) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[64] = "", port[8] = "";
    getsockname(fd, (struct sockaddr *)&address, &len);
    getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(text, 80, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

bool http_server_new(const char *listen, bool (*is_ready)(void *arg, char text[static HTTP_READY_SIZE]), void *arg,
                     struct http_server **ret_server, struct err *err) {
    int fd = open_socket(listen, err);
    if (fd < 0)
        return false;
    struct http_server *server = memory_new(1, sizeof *server);
    server->is_ready = is_ready;
    server->arg = arg;
    format_address(fd, server->address);
    server->daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD, 0, NULL, NULL, handle, server, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTION_LIMIT, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)ADDRESS_LIMIT, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S, MHD_OPTION_END);
    if (!server->daemon) {
        /* The library may have closed the socket already. Closing the descriptor twice could close another one, so
         * we leak it; the process ends soon. */
        free(server);
        return err_set(err, ERR_INTERNAL, BACKEND_NONE, "can't serve HTTP on %s: starting its thread failed", listen);
    }
    *ret_server = server;
    return true;
}

const char *http_server_address(const struct http_server *server) {
    return server->address;
}

void http_server_free(struct http_server *server) {
    if (!server)
        return;
    MHD_stop_daemon(server->daemon); /* waits for its thread and closes all sockets */
    free(server);
}

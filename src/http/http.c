/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP side; see http.h.
 *
 * libmicrohttpd runs one thread, which accepts, reads and responds. handle() and the functions that it calls run on
 * that thread, and must not block: one slow answer would delay all others. A path that needs another thread's answer
 * suspends its connection. We create the listening socket ourselves,
 * because libmicrohttpd does not report why an address fails. */
#include "http/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/strbuf.h"
#include "http/request_internal.h"

/* Scrapers, probes and the console's viewers need few connections. The other file descriptors are for gRPC. One address
 * gets only a part, so that idle connections of one client do not keep the probes of others waiting. That part is
 * larger than what the console lets wait, since tunnels make all its viewers one address. */
#define CONNECTION_LIMIT     96
#define ADDRESS_LIMIT        64
#define CONNECTION_TIMEOUT_S 10
#define BACKLOG              64
#define LAST_ANSWERS_US      US_PER_S
#define TEXT_PLAIN           "text/plain; charset=utf-8"
#define TEXT_METRICS         "text/plain; version=0.0.4"

#define TLS_FILE_MAX         (1 << 20)

struct http_server {
    struct MHD_Daemon *daemon;
    char address[80]; /* with the port that is bound */
    bool has_tls;
    atomic_int n_requests; /* under way */
    bool (*is_ready)(void *arg, char text[static HTTP_READY_SIZE]);
    bool (*handle)(void *arg, struct http_request *request);
    void *arg;
};

/* --- our own paths --- */

/* Responds with one line of text, and adds the newline. */
static void respond_line(struct http_request *request, unsigned status, const char *text) {
    char line[HTTP_READY_SIZE + 2];
    const struct http_header allow = {MHD_HTTP_HEADER_ALLOW, "GET, HEAD"};
    int len = snprintf(line, sizeof line, "%.*s\n", HTTP_READY_SIZE, text);
    http_respond(request, &(struct http_response){
                              .status = status,
                              .content_type = TEXT_PLAIN,
                              .body = line,
                              .len = (size_t)len,
                              .headers = &allow,
                              .n_headers = status == MHD_HTTP_METHOD_NOT_ALLOWED,
                          });
}

static void respond_metrics(struct http_request *request) {
    struct strbuf text = {0};
    strbuf_puts(&text, "");
    metrics_render(&text);
    http_respond(request, &(struct http_response){
                              .status = MHD_HTTP_OK, .content_type = TEXT_METRICS, .body = text.data, .len = text.len});
    strbuf_deinit(&text);
}

static void respond_ready(struct http_request *request, const struct http_server *server) {
    char text[HTTP_READY_SIZE] = "";
    bool is_ready = server->is_ready(server->arg, text);
    respond_line(request, is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, text);
}

static bool is_get(const char *method) {
    return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static void route(const struct http_server *server, struct http_request *request) {
    const char *path = http_request_path(request);
    bool is_own = strcmp(path, "/metrics") == 0 || strcmp(path, "/healthz") == 0 || strcmp(path, "/readyz") == 0;
    if (!is_own && server->handle && server->handle(server->arg, request))
        return;
    if (!is_get(http_request_method(request)))
        respond_line(request, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are served here");
    else if (strcmp(path, "/metrics") == 0)
        respond_metrics(request);
    else if (strcmp(path, "/healthz") == 0)
        respond_line(request, MHD_HTTP_OK, "ok");
    else if (strcmp(path, "/readyz") == 0)
        respond_ready(request, server);
    else
        respond_line(request, MHD_HTTP_NOT_FOUND, "not found; there are /metrics, /healthz, /readyz and /console");
}

/* --- libmicrohttpd --- */

/* MHD_AccessHandlerCallback. */
static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload_data, size_t *upload_data_size,
                              void **connection_state) {
    (void)version, (void)upload_data;
    struct http_server *server = arg;
    struct http_request *request = *connection_state;
    /* libmicrohttpd first calls with the headers alone. A response at this point would end the connection. */
    if (!request) {
        *connection_state = request = http_request_new(connection, method, url);
        request->has_tls = server->has_tls;
        atomic_fetch_add(&server->n_requests, 1);
        return MHD_YES;
    }
    if (*upload_data_size > 0) { /* skip the body */
        *upload_data_size = 0;
        return MHD_YES;
    }
    if (!atomic_load(&request->is_answered)) {
        route(server, request);
        /* Another thread answers and resumes the connection, after which this is called again. It may have answered
         * already, but nothing may be done with the connection until libmicrohttpd has resumed it. */
        if (request->is_deferred)
            return MHD_YES;
    }
    return request->response ? MHD_queue_response(connection, request->status, request->response) : MHD_NO;
}

/* MHD_RequestCompletedCallback. */
static void on_completed(void *arg, struct MHD_Connection *connection, void **connection_state,
                         enum MHD_RequestTerminationCode code) {
    struct http_server *server = arg;
    (void)connection, (void)code;
    if (!*connection_state)
        return;
    http_request_end(*connection_state);
    *connection_state = NULL;
    atomic_fetch_sub(&server->n_requests, 1);
}

/* --- the server --- */

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

/* Reads a file of PEM, terminated. NULL: it can't be read. */
static char *read_pem(const char *key, const char *path, struct err *err) {
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t len = 0;
    if (file) {
        text = memory_new(TLS_FILE_MAX + 1, 1);
        len = fread(text, 1, TLS_FILE_MAX, file);
    }
    if (!file || ferror(file) || len == 0) {
        err_set(err, ERR_INVALID, BACKEND_NONE, "%s: %s can't be read: %s", key, path,
                file && !ferror(file) ? "it is empty" : strerror(errno));
        free(text);
        text = NULL;
    }
    if (file)
        fclose(file);
    return text;
}

static struct MHD_Daemon *start(struct http_server *server, int fd, const char *certificate, const char *key) {
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key},
        {MHD_OPTION_END, 0, NULL},
    };
    const struct MHD_OptionItem none = {MHD_OPTION_END, 0, NULL};
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | (certificate ? MHD_USE_TLS : 0u);
    return MHD_start_daemon(flags, 0, NULL, NULL, handle, server, MHD_OPTION_ARRAY, certificate ? tls : &none,
                            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTION_LIMIT,
                            MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)ADDRESS_LIMIT, MHD_OPTION_CONNECTION_TIMEOUT,
                            (unsigned)CONNECTION_TIMEOUT_S, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
                            MHD_OPTION_END);
}

/* Opens the socket and starts the thread. The files' contents are the caller's. */
static bool serve(struct http_server *server, const char *listen, const char *certificate, const char *key,
                  struct err *err) {
    int fd = open_socket(listen, err);
    if (fd < 0)
        return false;
    format_address(fd, server->address);
    server->daemon = start(server, fd, certificate, key);
    if (server->daemon)
        return true;
    /* The library may have closed the socket already. Closing the descriptor twice could close another one, so we leak
     * it; the process ends soon. */
    return err_set(err, ERR_INVALID, BACKEND_NONE, "can't serve HTTP on %s: %s", listen,
                   certificate ? "http.tls_certificate and http.tls_key are no PEM files that fit together"
                               : "starting its thread failed");
}

bool http_server_new(const struct http_options *options, struct http_server **ret_server, struct err *err) {
    struct http_server *server = memory_new(1, sizeof *server);
    server->is_ready = options->is_ready;
    server->handle = options->handle;
    server->arg = options->arg;
    server->has_tls = options->tls_certificate != NULL;
    char *certificate = NULL, *key = NULL;
    bool ok = !server->has_tls || ((certificate = read_pem("http.tls_certificate", options->tls_certificate, err)) &&
                                   (key = read_pem("http.tls_key", options->tls_key, err)));
    ok = ok && serve(server, options->listen, certificate, key, err);
    free(certificate);
    free(key);
    if (!ok) {
        free(server);
        return false;
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
    /* The newest answers may not have been sent yet. */
    int64_t until_us = clock_mono_us() + LAST_ANSWERS_US;
    while (atomic_load(&server->n_requests) > 0 && clock_mono_us() < until_us)
        clock_sleep_us(LAST_ANSWERS_US / 100);
    MHD_stop_daemon(server->daemon); /* waits for its thread and closes all sockets */
    free(server);
}

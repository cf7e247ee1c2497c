/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "http/http.h"

static atomic_bool ready;

static bool is_ready(void *arg, char text[static HTTP_READY_SIZE]) {
    atomic_bool *flag = arg;
    snprintf(text, HTTP_READY_SIZE, atomic_load(flag) ? "ready" : "postgres can't be reached");
    return atomic_load(flag);
}

static struct http_server *server;

/* The handler's requests. "/late" and "/stream" keep theirs for a thread of the test. */
static struct http_request *_Atomic kept;
static atomic_int closed, pauses;
static char seen[200];

static bool see(void *arg, const char *name, const char *value) {
    size_t len = strlen(seen);
    (void)arg;
    snprintf(seen + len, sizeof seen - len, "%s=%s;", name, value ? value : "(none)");
    return strcmp(name, "last") != 0;
}

static void respond(struct http_request *request, const char *text) {
    const struct http_header header = {"X-Test", "yes"};
    http_respond(request, &(struct http_response){.status = 201,
                                                  .content_type = "text/test",
                                                  .body = text,
                                                  .len = strlen(text),
                                                  .headers = &header,
                                                  .n_headers = 1});
}

static ssize_t read_stream(void *arg, char *room, size_t max) {
    static const char *const parts[] = {"one ", NULL, "two", NULL};
    static int at;
    (void)arg;
    cr_assert_gt(max, 10);
    if (at == sizeof parts / sizeof parts[0])
        return -1;
    const char *part = parts[at++];
    if (part)
        return (ssize_t)strlen(strcpy(room, part));
    http_request_pause(atomic_load(&kept));
    atomic_fetch_add(&pauses, 1);
    return 0;
}

static void close_stream(void *arg) {
    (void)arg;
    atomic_fetch_add(&closed, 1);
}

static bool handle(void *arg, struct http_request *request) {
    const char *path = http_request_path(request);
    (void)arg;
    if (strcmp(path, "/now") == 0) {
        char peer[HTTP_PEER_SIZE], text[400];
        http_request_peer(request, peer);
        http_request_each_query(request, see, NULL);
        const char *token = http_request_header(request, "authorization"), *a = http_request_query(request, "a");
        snprintf(text, sizeof text, "%s %s %s %s %.15s %d %d", http_request_method(request), a ? a : "-",
                 token ? token : "-", seen, peer, http_request_is_from_loopback(request),
                 http_request_has_tls(request));
        respond(request, text);
        return true;
    }
    if (strcmp(path, "/late") == 0) {
        http_request_defer(request);
        atomic_store(&kept, request);
        return true;
    }
    if (strcmp(path, "/stream") == 0) {
        atomic_store(&kept, request);
        http_respond_stream(
            request, &(struct http_stream){.content_type = "text/bits", .read = read_stream, .close = close_stream});
        return true;
    }
    return false;
}

static const struct http_options options = {
    .listen = "127.0.0.1:0", .is_ready = is_ready, .arg = &ready, .handle = handle};

static bool serve(const char *listen, struct http_server **ret_server, struct err *err) {
    struct http_options its = options;
    its.listen = listen;
    return http_server_new(&its, ret_server, err);
}

static void set_up(void) {
    struct err err = {0};
    cr_assert(http_server_new(&options, &server, &err), "%s", err.text);
}

static void tear_down(void) {
    http_server_free(server);
}

TestSuite(http, .init = set_up, .fini = tear_down);

static int port_of(const struct http_server *of) {
    return atoi(strrchr(http_server_address(of), ':') + 1);
}

/* Connects from 127.0.0.1 or another address of loopback. */
static int connect_from(const char *from, int port) {
    struct sockaddr_in own = {.sin_family = AF_INET};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval deadline = {.tv_sec = 20};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    own.sin_addr.s_addr = inet_addr(from);
    cr_assert_eq(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static int connect_to(int port) {
    return connect_from("127.0.0.1", port);
}

/* Returns the whole answer, headers and body. */
static const char *answer_to(const char *request_line, const char *rest) {
    static char answer[8192];
    char request[512];
    int len =
        snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s", request_line, rest);
    int fd = connect_to(port_of(server));
    cr_assert_geq(fd, 0);
    cr_assert_eq(send(fd, request, (size_t)len, MSG_NOSIGNAL), len);
    size_t got = 0;
    for (ssize_t n; (n = recv(fd, answer + got, sizeof answer - 1 - got, 0)) > 0;)
        got += (size_t)n;
    answer[got] = '\0';
    close(fd);
    return answer;
}

static void expect_answer(const char *request_line, const char *status, const char *body) {
    const char *answer = answer_to(request_line, "\r\n");
    char status_line[80];
    snprintf(status_line, sizeof status_line, "HTTP/1.1 %s\r\n", status);
    cr_expect_eq(strncmp(answer, status_line, strlen(status_line)), 0, "%s: %s", request_line, answer);
    const char *start = strstr(answer, "\r\n\r\n");
    cr_assert_not_null(start);
    cr_expect_str_eq(start + 4, body);
}

Test(http, healthz_says_ok) {
    expect_answer("GET /healthz", "200 OK", "ok\n");
}

Test(http, readyz_follows_what_the_server_says_and_tells_why_not) {
    expect_answer("GET /readyz", "503 Service Unavailable", "postgres can't be reached\n");
    atomic_store(&ready, true);
    expect_answer("GET /readyz", "200 OK", "ready\n");
}

Test(http, metrics_are_served_in_the_text_format) {
    expect_answer("GET /metrics", "200 OK", "");
    metric_add(metrics_counter("x_total", "X.", ""), 5);
    expect_answer("GET /metrics", "200 OK", "# HELP x_total X.\n# TYPE x_total counter\nx_total 5\n");
    cr_expect_not_null(strstr(answer_to("GET /metrics", "\r\n"), "\r\nContent-Type: text/plain; version=0.0.4\r\n"));
}

Test(http, head_answers_without_a_body) {
    expect_answer("HEAD /healthz", "200 OK", "");
    cr_expect_not_null(strstr(answer_to("HEAD /healthz", "\r\n"), "\r\nContent-Length: 3\r\n"));
}

Test(http, a_query_is_ignored) {
    expect_answer("GET /healthz?from=probe", "200 OK", "ok\n");
}

Test(http, an_unknown_path_is_404) {
    expect_answer("GET /", "404 Not Found", "not found; there are /metrics, /healthz, /readyz and /console\n");
    expect_answer("GET /healthz/", "404 Not Found", "not found; there are /metrics, /healthz, /readyz and /console\n");
}

Test(http, other_methods_are_405_and_told_what_is_allowed) {
    expect_answer("DELETE /metrics", "405 Method Not Allowed", "only GET and HEAD are served here\n");
    const char *answer = answer_to("POST /nowhere", "Content-Length: 3\r\n\r\nabc");
    cr_expect_eq(strncmp(answer, "HTTP/1.1 405 ", 13), 0, "%s", answer);
    cr_expect_not_null(strstr(answer, "\r\nAllow: GET, HEAD\r\n"));
}

Test(http, a_connection_serves_several_requests) {
    static const char requests[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
                                   "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    char answer[2048];
    int fd = connect_to(port_of(server));
    cr_assert_eq(send(fd, requests, sizeof requests - 1, MSG_NOSIGNAL), (ssize_t)sizeof requests - 1);
    size_t got = 0;
    for (ssize_t n; (n = recv(fd, answer + got, sizeof answer - 1 - got, 0)) > 0;)
        got += (size_t)n;
    answer[got] = '\0';
    close(fd);
    const char *first = strstr(answer, "ok\n");
    cr_assert_not_null(first);
    cr_expect_not_null(strstr(first + 1, "ok\n"));
}

Test(http, idle_connections_of_one_address_do_not_delay_another) {
    enum { IDLE = 80 };
    int idle[IDLE];
    for (int i = 0; i < IDLE; i++)
        idle[i] = connect_from("127.0.0.2", port_of(server));
    int64_t begin_us = clock_mono_us();
    expect_answer("GET /healthz", "200 OK", "ok\n");
    cr_expect_lt(clock_mono_us() - begin_us, 3 * US_PER_S, "an idle connection is closed after 10 s");
    for (int i = 0; i < IDLE; i++)
        close(idle[i]);
}

Test(http, the_address_has_the_port_that_was_picked) {
    cr_expect_eq(strncmp(http_server_address(server), "127.0.0.1:", 10), 0);
    cr_expect_gt(port_of(server), 0);
}

Test(http, localhost_and_ipv6_work) {
    struct http_server *other;
    struct err err = {0};
    cr_assert(serve("localhost:0", &other, &err), "%s", err.text);
    cr_expect_eq(strncmp(http_server_address(other), "127.0.0.1:", 10), 0);
    http_server_free(other);
    /* Not every container has IPv6. */
    if (serve("[::1]:0", &other, &err)) {
        cr_expect_eq(strncmp(http_server_address(other), "[::1]:", 6), 0);
        http_server_free(other);
    } else {
        cr_expect_not_null(strstr(err.text, "[::1]:0"));
    }
}

Test(http, an_address_in_use_is_refused_by_name) {
    struct http_server *other = NULL;
    struct err err = {0};
    char expected[200];
    cr_expect_not(serve(http_server_address(server), &other, &err));
    snprintf(expected, sizeof expected, "can't serve HTTP on %s: Address already in use", http_server_address(server));
    cr_expect_str_eq(err.text, expected);
    cr_expect_null(other);
}

Test(http, what_is_no_address_is_refused_by_name) {
    static const char *const bad[] = {"", "127.0.0.1", ":80", "example.org:80", "127.0.0.1:http", "[::1:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct http_server *other = NULL;
        struct err err = {0};
        cr_expect_not(serve(bad[i], &other, &err), "%s", bad[i]);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_not_null(strstr(err.text, bad[i]));
    }
}

/* --- the handler --- */

Test(http, a_handler_sees_what_is_asked_and_by_whom) {
    expect_answer("GET /now?a=1%202&b&last=&c=5", "201 Created", "GET 1 2 - a=1 2;b=(none);last=; ipv4:127.0.0.1: 1 0");
    seen[0] = '\0';
    const char *answer = answer_to("POST /now", "Authorization: Bearer x\r\nContent-Length: 3\r\n\r\nabc");
    cr_expect_not_null(strstr(answer, "\r\n\r\nPOST - Bearer x  ipv4:127.0.0.1: 1 0"), "%s", answer);
    cr_expect_not_null(strstr(answer, "\r\nX-Test: yes\r\n"), "%s", answer);
    cr_expect_not_null(strstr(answer, "\r\nContent-Type: text/test\r\n"), "%s", answer);
}

Test(http, a_handler_does_not_take_the_paths_of_operators) {
    expect_answer("GET /healthz?a=1", "200 OK", "ok\n");
    const char *answer = answer_to("POST /metrics", "Content-Length: 0\r\n\r\n");
    cr_expect_eq(strncmp(answer, "HTTP/1.1 405 ", 13), 0, "%s", answer);
}

static void *respond_later(void *arg) {
    struct http_request *request;
    (void)arg;
    while (!(request = atomic_load(&kept)))
        clock_sleep_us(1000);
    clock_sleep_us(20000);
    respond(request, "late");
    return NULL;
}

Test(http, another_thread_may_answer_while_others_are_served) {
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, respond_later, NULL), 0);
    expect_answer("GET /late", "201 Created", "late");
    pthread_join(thread, NULL);
}

static void *resume_twice(void *arg) {
    (void)arg;
    for (int i = 1; i <= 2; i++) {
        while (atomic_load(&pauses) < i)
            clock_sleep_us(1000);
        clock_sleep_us(5000);
        http_request_resume(atomic_load(&kept));
    }
    return NULL;
}

Test(http, a_stream_comes_bit_by_bit_and_is_closed_once) {
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, resume_twice, NULL), 0);
    const char *answer = answer_to("GET /stream", "\r\n");
    pthread_join(thread, NULL);
    cr_expect_eq(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0, "%s", answer);
    cr_expect_not_null(strstr(answer, "one "), "%s", answer);
    cr_expect_not_null(strstr(answer, "two"), "%s", answer);
    http_server_free(server);
    server = NULL;
    cr_expect_eq(atomic_load(&closed), 1);
}

/* --- TLS --- */

Test(http, tls_files_that_do_not_suit_are_refused_by_name) {
    struct http_server *other = NULL;
    struct http_options its = options;
    struct err err = {0};
    its.tls_certificate = "/nowhere/certificate.pem";
    its.tls_key = "/dev/null";
    cr_expect_not(http_server_new(&its, &other, &err));
    cr_expect_str_eq(err.text,
                     "http.tls_certificate: /nowhere/certificate.pem can't be read: No such file or directory");
    its.tls_certificate = "/dev/null";
    cr_expect_not(http_server_new(&its, &other, &err));
    cr_expect_str_eq(err.text, "http.tls_certificate: /dev/null can't be read: it is empty");
    its.tls_certificate = its.tls_key = "/etc/passwd";
    cr_expect_not(http_server_new(&its, &other, &err));
    cr_expect_not_null(strstr(err.text, "http.tls_certificate and http.tls_key are no PEM files that fit together"),
                       "%s", err.text);
}

Test(http, a_stopped_server_lets_go_of_its_port) {
    char address[80];
    struct err err = {0};
    snprintf(address, sizeof address, "%s", http_server_address(server));
    int port = port_of(server);
    int open = connect_to(port); /* an idle connection must not delay the stop */
    http_server_free(server);
    server = NULL;
    cr_expect_lt(connect_to(port), 0);
    cr_expect(serve(address, &server, &err), "%s", err.text);
    close(open);
}

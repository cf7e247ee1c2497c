/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
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

static void set_up(void) {
    struct err err = {0};
    cr_assert(http_server_new("127.0.0.1:0", is_ready, &ready, &server, &err), "%s", err.text);
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
    expect_answer("GET /", "404 Not Found", "not found; there are /metrics, /healthz and /readyz\n");
    expect_answer("GET /healthz/", "404 Not Found", "not found; there are /metrics, /healthz and /readyz\n");
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
    cr_assert(http_server_new("localhost:0", is_ready, &ready, &other, &err), "%s", err.text);
    cr_expect_eq(strncmp(http_server_address(other), "127.0.0.1:", 10), 0);
    http_server_free(other);
    /* Not every container has IPv6. */
    if (http_server_new("[::1]:0", is_ready, &ready, &other, &err)) {
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
    cr_expect_not(http_server_new(http_server_address(server), is_ready, &ready, &other, &err));
    snprintf(expected, sizeof expected, "can't serve HTTP on %s: Address already in use", http_server_address(server));
    cr_expect_str_eq(err.text, expected);
    cr_expect_null(other);
}

Test(http, what_is_no_address_is_refused_by_name) {
    static const char *const bad[] = {"", "127.0.0.1", ":80", "example.org:80", "127.0.0.1:http", "[::1:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct http_server *other = NULL;
        struct err err = {0};
        cr_expect_not(http_server_new(bad[i], is_ready, &ready, &other, &err), "%s", bad[i]);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_not_null(strstr(err.text, bad[i]));
    }
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
    cr_expect(http_server_new(address, is_ready, &ready, &server, &err), "%s", err.text);
    close(open);
}

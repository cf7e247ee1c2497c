/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis_conn.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fake_redis.h"

#define PATIENT_US (5 * US_PER_S)
#define SHORT_US   (300 * US_PER_MS)

static struct fake_redis *server;
static struct redis_login login;
static struct redis_conn_options options;

static void set_up(void) {
    server = fake_redis_new();
    redis_login_init(&login, &(struct redis_login_files){0}, "", "");
    options = (struct redis_conn_options){.timeout_us = PATIENT_US, .login = &login, .resolver = resolver_new()};
}

static void tear_down(void) {
    resolver_free(options.resolver);
    fake_redis_free(server);
}

TestSuite(redis_conn, .init = set_up, .fini = tear_down, .timeout = 60);

static struct redis_conn *open_to(const struct fake_redis *to) {
    struct redis_conn *conn = NULL;
    struct err err = {0};
    bool ok = redis_conn_open(&options, fake_redis_address(to), &conn, &err);
    cr_assert(ok, "%s", err.text);
    return conn;
}

/* Expects "HOST:PORT: WHAT". */
static void expect_problem(const struct err *err, const char *what) {
    char text[400];
    const struct redis_address *address = fake_redis_address(server);
    snprintf(text, sizeof text, "%s:%d: %s", address->host, address->port, what);
    cr_expect_eq(err->code, ERR_UNAVAILABLE);
    cr_expect_eq(err->backend, BACKEND_REDIS);
    cr_expect_str_eq(err->text, text);
}

static void expect_not_open(const char *what) {
    struct redis_conn *conn = NULL;
    struct err err = {0};
    cr_assert_not(redis_conn_open(&options, fake_redis_address(server), &conn, &err));
    cr_expect_null(conn);
    expect_problem(&err, what);
}

static redisReply *run(struct redis_conn *conn, const char *word) {
    redisReply *reply = NULL;
    struct err err = {0};
    bool ok = redis_conn_run(conn, 1, &word, &reply, &err);
    cr_assert(ok, "%s", err.text);
    return reply;
}

static void expect_failure(struct redis_conn *conn, const char *word, const char *what) {
    redisReply *reply = NULL;
    struct err err = {0};
    cr_assert_not(redis_conn_run(conn, 1, &word, &reply, &err));
    cr_expect_null(reply);
    expect_problem(&err, what);
}

/* --- logging in --- */

Test(redis_conn, without_credentials_and_database_nothing_is_sent) {
    fake_redis_answer(server, "PING", "+PONG\r\n");
    struct redis_conn *conn = open_to(server);
    freeReplyObject(run(conn, "PING"));
    redis_conn_close(conn);
    fake_redis_expect(server, "PING\n");
}

Test(redis_conn, it_logs_in_with_user_and_password_and_chooses_the_database) {
    fake_redis_answer(server, "AUTH ", "+OK\r\n");
    fake_redis_answer(server, "SELECT ", "+OK\r\n");
    redis_login_init(&login, &(struct redis_login_files){0}, "app", "pw");
    options.db = 3;
    redis_conn_close(open_to(server));
    fake_redis_expect(server, "AUTH app pw\nSELECT 3\n");
}

Test(redis_conn, a_password_alone_is_the_default_users) {
    fake_redis_answer(server, "AUTH ", "+OK\r\n");
    redis_login_init(&login, &(struct redis_login_files){0}, "", "pw");
    redis_conn_close(open_to(server));
    fake_redis_expect(server, "AUTH pw\n");
}

Test(redis_conn, each_connection_reads_the_file_of_the_password_again) {
    char path[] = "/tmp/couponsd-password-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, "new", 3), 3);
    close(fd);
    fake_redis_answer(server, "AUTH ", "+OK\r\n");
    redis_login_init(&login, &(struct redis_login_files){.password_file = path}, "", "old");
    redis_conn_close(open_to(server));
    unlink(path);
    fake_redis_expect(server, "AUTH new\n");
}

Test(redis_conn, a_refused_login_says_why) {
    redis_login_init(&login, &(struct redis_login_files){0}, "app", "pw");
    fake_redis_answer(server, "AUTH ", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    expect_not_open("WRONGPASS invalid username-password pair or user is disabled.");
    fake_redis_await_no_client(server);
}

Test(redis_conn, a_server_that_repeats_the_password_does_not_get_it_into_the_error) {
    redis_login_init(&login, &(struct redis_login_files){0}, "", "s3cret");
    fake_redis_answer(server, "AUTH ", "-ERR unknown command `AUTH`, with args beginning with: `s3cret`\r\n");
    expect_not_open("ERR");
}

Test(redis_conn, a_database_that_does_not_exist_is_an_error) {
    options.db = 99;
    fake_redis_answer(server, "SELECT ", "-ERR DB index is out of range\r\n");
    expect_not_open("ERR DB index is out of range");
}

Test(redis_conn, a_login_without_an_answer_ends_in_time) {
    redis_login_init(&login, &(struct redis_login_files){0}, "", "pw");
    fake_redis_answer(server, "AUTH ", FAKE_SILENCE);
    options.timeout_us = SHORT_US;
    expect_not_open("no answer in time");
}

/* --- the socket --- */

Test(redis_conn, a_unix_socket_serves_as_well) {
    char path[] = "/tmp/couponsd-redis-XXXXXX";
    close(mkstemp(path));
    unlink(path);
    struct fake_redis *local = fake_redis_new_unix(path);
    fake_redis_answer(local, "PING", "+PONG\r\n");
    struct redis_conn *conn = open_to(local);
    freeReplyObject(run(conn, "PING"));
    cr_expect_str_eq(redis_conn_address(conn)->host, path);
    redis_conn_close(conn);
    fake_redis_free(local);
    struct redis_address gone = {0};
    struct err err = {0};
    strcpy(gone.host, path);
    cr_assert_not(redis_conn_open(&options, &gone, &conn, &err));
    cr_expect_eq(strncmp(err.text, path, strlen(path)), 0);
    cr_expect_str_eq(err.text + strlen(path), ": No such file or directory");
}

Test(redis_conn, a_port_without_a_server_is_an_error_at_once) {
    int64_t from_us = clock_mono_us();
    struct redis_conn *conn;
    struct err err = {0};
    cr_assert_not(redis_conn_open(&options, &(struct redis_address){.host = "127.0.0.1", .port = 1}, &conn, &err));
    cr_expect_str_eq(err.text, "127.0.0.1:1: Connection refused");
    cr_expect_lt(clock_mono_us() - from_us, PATIENT_US);
}

/* A listener without room for another connection drops the requests to connect. */
Test(redis_conn, a_server_that_does_not_accept_is_given_up_in_time) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0), clients[4];
    cr_assert_eq(bind(listener, (struct sockaddr *)&name, len), 0);
    cr_assert_eq(listen(listener, 0), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&name, &len), 0);
    for (int i = 0; i < 4; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(clients[i], (struct sockaddr *)&name, len);
    }
    struct redis_conn *conn;
    struct err err = {0};
    char text[100];
    options.timeout_us = SHORT_US;
    snprintf(text, sizeof text, "127.0.0.1:%d: no connection in time", ntohs(name.sin_port));
    cr_assert_not(redis_conn_open(&options, &(struct redis_address){.host = "127.0.0.1", .port = ntohs(name.sin_port)},
                                  &conn, &err));
    cr_expect_str_eq(err.text, text);
    for (int i = 0; i < 4; i++)
        close(clients[i]);
    close(listener);
}

Test(redis_conn, a_name_that_does_not_exist_is_an_error) {
    struct redis_conn *conn;
    struct err err = {0};
    cr_assert_not(redis_conn_open(&options, &(struct redis_address){.host = "a..b", .port = 7}, &conn, &err));
    cr_expect_eq(strncmp(err.text, "a..b:7: the name can't be resolved: ", 35), 0, "%s", err.text);
}

/* --- answers --- */

Test(redis_conn, answers_of_every_kind_arrive) {
    fake_redis_answer(server, "STATUS", "+OK\r\n");
    fake_redis_answer(server, "NUMBER", ":42\r\n");
    fake_redis_answer(server, "TEXT", "$5\r\na\r\nbc\r\n");
    fake_redis_answer(server, "NOTHING", "$-1\r\n");
    fake_redis_answer(server, "LIST", "*2\r\n$1\r\na\r\n:1\r\n");
    struct redis_conn *conn = open_to(server);
    redisReply *reply = run(conn, "STATUS");
    cr_expect_eq(reply->type, REDIS_REPLY_STATUS);
    freeReplyObject(reply);
    reply = run(conn, "NUMBER");
    cr_expect_eq(reply->integer, 42);
    freeReplyObject(reply);
    reply = run(conn, "TEXT");
    cr_expect_eq(reply->len, 5);
    cr_expect_str_eq(reply->str, "a\r\nbc");
    freeReplyObject(reply);
    reply = run(conn, "NOTHING");
    cr_expect_eq(reply->type, REDIS_REPLY_NIL);
    freeReplyObject(reply);
    reply = run(conn, "LIST");
    cr_expect_eq(reply->elements, 2);
    freeReplyObject(reply);
    redis_conn_close(conn);
}

Test(redis_conn, an_error_of_the_server_is_a_failure_and_the_connection_goes_on) {
    fake_redis_answer(server, "PING", "+PONG\r\n");
    fake_redis_answer(server, "GET", "-NOAUTH Authentication required.\r\n");
    struct redis_conn *conn = open_to(server);
    expect_failure(conn, "GET", "NOAUTH Authentication required.");
    cr_expect_not(redis_conn_was_cut(conn));
    freeReplyObject(run(conn, "PING"));
    redis_conn_close(conn);
}

Test(redis_conn, a_pipeline_is_answered_in_order_and_errors_are_answers) {
    const char *a[] = {"GET", "a"}, *b[] = {"GET", "b"};
    struct err err = {0};
    redisReply *reply = NULL;
    fake_redis_answer(server, "GET a", "$1\r\n1\r\n");
    fake_redis_answer(server, "GET b", "-WRONGTYPE it is a list\r\n");
    struct redis_conn *conn = open_to(server);
    redis_conn_append(conn, 2, a);
    redis_conn_append(conn, 2, b);
    fake_redis_expect(server, "");
    cr_assert(redis_conn_flush(conn, &err), "%s", err.text);
    cr_assert(redis_conn_read(conn, &reply, &err), "%s", err.text);
    cr_expect_str_eq(reply->str, "1");
    freeReplyObject(reply);
    cr_assert(redis_conn_read(conn, &reply, &err), "%s", err.text);
    cr_expect_eq(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
    redis_conn_close(conn);
    fake_redis_expect(server, "GET a\nGET b\n");
}

Test(redis_conn, an_answer_longer_than_one_read_is_put_together) {
    static char answer[100020];
    size_t len = (size_t)sprintf(answer, "$100000\r\n");
    memset(answer + len, 'x', 100000);
    strcpy(answer + len + 100000, "\r\n");
    fake_redis_answer(server, "GET", answer);
    struct redis_conn *conn = open_to(server);
    redisReply *reply = run(conn, "GET");
    cr_expect_eq(reply->len, 100000);
    cr_expect_eq(strspn(reply->str, "x"), 100000);
    freeReplyObject(reply);
    redis_conn_close(conn);
}

Test(redis_conn, no_answer_is_a_time_out_and_no_cut) {
    fake_redis_answer(server, "PING", "+PONG\r\n");
    fake_redis_answer(server, "GET", FAKE_SILENCE);
    options.timeout_us = SHORT_US;
    struct redis_conn *conn = open_to(server);
    freeReplyObject(run(conn, "PING"));
    int64_t from_us = clock_mono_us();
    expect_failure(conn, "GET", "no answer in time");
    cr_expect_geq(clock_mono_us() - from_us, SHORT_US / 2);
    cr_expect_not(redis_conn_was_cut(conn));
    redis_conn_close(conn);
}

Test(redis_conn, an_answer_that_stops_in_the_middle_is_a_time_out) {
    fake_redis_answer(server, "GET", "$5\r\nab");
    options.timeout_us = SHORT_US;
    struct redis_conn *conn = open_to(server);
    expect_failure(conn, "GET", "no answer in time");
    redis_conn_close(conn);
}

Test(redis_conn, a_peer_of_another_protocol_is_an_error) {
    fake_redis_answer(server, "GET", "HTTP/1.1 400 Bad Request\r\n");
    struct redis_conn *conn = open_to(server);
    expect_failure(conn, "GET", "Protocol error, got \"H\" as reply type byte");
    cr_expect_not(redis_conn_was_cut(conn));
    redis_conn_close(conn);
}

/* --- ends --- */

Test(redis_conn, a_connection_that_has_served_and_then_ends_was_cut_while_idle) {
    fake_redis_answer(server, "PING", "+PONG\r\n");
    struct redis_conn *conn = open_to(server);
    freeReplyObject(run(conn, "PING"));
    cr_expect_not(redis_conn_was_cut(conn));
    fake_redis_cut(server);
    redisReply *reply = NULL;
    const char *argv[] = {"PING"};
    cr_assert_not(redis_conn_run(conn, 1, argv, &reply, NULL));
    cr_expect(redis_conn_was_cut(conn));
    redis_conn_close(conn);
}

Test(redis_conn, a_login_is_no_service_so_its_end_is_no_cut) {
    redis_login_init(&login, &(struct redis_login_files){0}, "", "pw");
    fake_redis_answer(server, "AUTH ", "+OK\r\n");
    fake_redis_answer(server, "GET", FAKE_CLOSE);
    struct redis_conn *conn = open_to(server);
    expect_failure(conn, "GET", "the server closed the connection");
    cr_expect_not(redis_conn_was_cut(conn));
    redis_conn_close(conn);
}

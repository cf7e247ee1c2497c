/* SPDX-License-Identifier: Apache-2.0 */
/* Through pg_connect, whose pauses and sessions are part of what counts. */
#include "store/pg_open.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fake_names.h"
#include "wire.h"

#define LIMIT_S 1 /* of connecting, if a test is about that; libpq alone takes at least 2 s for each host */
/* Failing takes LIMIT_S. If a time limit counts once more, e.g. for a second host, it takes longer than this. */
#define IN_TIME_US (LIMIT_S * US_PER_S + 900 * US_PER_MS)
/* Success within this time was not delayed by a silent host or name until a time limit was over. */
#define SOON_US (900 * US_PER_MS)

static struct wire *wire;
static struct pg *pg;
static atomic_int first;
static char url[500];
static int port;
static atomic_int refusals;

static void set_up(void) {
    unsetenv("PGHOST");
    unsetenv("PGPORT");
    wire = wire_new();
    cr_assert_eq(sscanf(wire_url(wire), "host=127.0.0.1 port=%d", &port), 1);
    fake_names_set("slow.test", "127.0.0.1");
    fake_names_hold("slow.test");
    fake_names_set("db.test", "127.0.0.1");
}

static void tear_down(void) {
    pg_free(pg);
    fake_names_release();
    wire_free(wire);
}

TestSuite(pg_open, .init = set_up, .fini = tear_down, .timeout = 60);

/* Makes `pg`, which connects to `where`. */
static void use(const char *where, int limit_s) {
    snprintf(url, sizeof url, "%s user=u dbname=d sslmode=disable gssencmode=disable", where);
    pg = pg_new(&(struct pg_options){.url = url,
                                     .first_host = &first,
                                     .application_name = "test",
                                     .connect_timeout_s = limit_s,
                                     .statement_timeout_ms = 5000});
}

static void use_printed(int limit_s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void use_printed(int limit_s, const char *format, ...) {
    char where[300];
    va_list args;
    va_start(args, format);
    vsnprintf(where, sizeof where, format, args);
    va_end(args);
    use(where, limit_s);
}

static void expect_connects(int64_t within_us) {
    struct err err = {0};
    int64_t from_us = clock_mono_us();
    bool ok = pg_connect(pg, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_lt(clock_mono_us() - from_us, within_us);
}

/* Checks that connecting fails in time, and that the error has `text`. */
static void expect_fails(int64_t within_us, const char *text) {
    struct err err = {0};
    int64_t from_us = clock_mono_us();
    cr_assert_not(pg_connect(pg, &err));
    cr_expect_lt(clock_mono_us() - from_us, within_us);
    cr_expect(err.retriable);
    cr_expect_eq(err.backend, BACKEND_POSTGRES);
    cr_expect(strstr(err.text, text), "%s", err.text);
}

/* Connects after the pause that follows a failure. */
static void expect_connects_soon_after_failure(void) {
    struct err err = {0};
    int64_t until_us = clock_mono_us() + 5 * US_PER_S;
    while (!pg_connect(pg, &err) && clock_mono_us() < until_us)
        clock_sleep_us(10 * US_PER_MS);
    cr_expect(pg_is_connected(pg), "%s", err.text);
}

/* Returns a socket of 127.0.0.1 that takes connections. */
static int silent_listener(int *ret_port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 64), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* Returns the port of a server on 127.0.0.1 that never says a word. */
static int silent_port(void) {
    int silent;
    (void)silent_listener(&silent);
    return silent;
}

/* --- names --- */

Test(pg_open, a_name_leads_to_its_address) {
    use_printed(LIMIT_S, "host=db.test port=%d", port);
    expect_connects(SOON_US);
    cr_expect_eq(fake_names_count("db.test"), 1);
}

Test(pg_open, a_name_that_no_name_server_answers_costs_no_more_than_the_time_limit) {
    use_printed(LIMIT_S, "host=slow.test port=%d", port);
    expect_fails(IN_TIME_US, "slow.test: no name server has answered yet");
    expect_fails(SOON_US, "silent");
    fake_names_release();
    expect_connects_soon_after_failure();
    cr_expect_eq(fake_names_count("slow.test"), 1, "the late answer counts");
}

Test(pg_open, a_name_that_does_not_exist_fails_at_once) {
    use("host=a..b", LIMIT_S);
    expect_fails(SOON_US, "a..b: the name can't be resolved: ");
}

Test(pg_open, a_name_that_gets_another_address_is_found_there) {
    fake_names_set("db.test", "127.0.0.9");
    use_printed(LIMIT_S, "host=db.test port=%d", port);
    expect_fails(SOON_US, "db.test: connection to server at \"127.0.0.9\"");
    fake_names_set("db.test", "127.0.0.1");
    expect_connects_soon_after_failure();
    pg_disconnect(pg);
    fake_names_set("db.test", "127.0.0.9");
    expect_fails(SOON_US, "db.test: connection to server at \"127.0.0.9\"");
}

Test(pg_open, a_name_of_the_environment_is_a_name_too) {
    char text[8];
    snprintf(text, sizeof text, "%d", port);
    setenv("PGHOST", "slow.test", 1);
    setenv("PGPORT", text, 1);
    use("", LIMIT_S);
    expect_fails(IN_TIME_US, "slow.test: no name server has answered yet");
    fake_names_release();
    expect_connects_soon_after_failure();
}

Test(pg_open, a_name_of_a_service_file_is_a_name_too) {
    char path[] = "/tmp/pg_open_test_XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    fprintf(file, "[coupons]\nhost=slow.test\nport=%d\n", port);
    fclose(file);
    setenv("PGSERVICEFILE", path, 1);
    use("service=coupons", LIMIT_S);
    expect_fails(IN_TIME_US, "slow.test: no name server has answered yet");
    fake_names_release();
    expect_connects_soon_after_failure();
    unlink(path);
}

Test(pg_open, a_name_with_a_given_address_is_not_looked_up) {
    use_printed(LIMIT_S, "host=slow.test hostaddr=127.0.0.1 port=%d", port);
    expect_connects(SOON_US);
    cr_expect_eq(fake_names_count("slow.test"), 0);
}

/* A server that wants TLS, and reads the first record of the handshake. */
struct tls_server {
    int listener;
    char hello[2000];
    ssize_t len;
};

static void *serve_tls(void *arg) {
    struct tls_server *server = arg;
    char request[8];
    int fd = accept(server->listener, NULL, NULL);
    cr_assert_eq(read(fd, request, sizeof request), (ssize_t)sizeof request);
    cr_assert_eq(write(fd, "S", 1), 1);
    server->len = read(fd, server->hello, sizeof server->hello);
    close(fd);
    return NULL;
}

Test(pg_open, tls_learns_the_name_and_not_only_the_address) {
    struct tls_server server = {.listener = silent_listener(&port)};
    pthread_t thread;
    struct err err = {0};
    cr_assert_eq(pthread_create(&thread, NULL, serve_tls, &server), 0);
    snprintf(url, sizeof url, "host=db.test port=%d user=u dbname=d sslmode=require gssencmode=disable", port);
    pg = pg_new(&(struct pg_options){.url = url, .application_name = "test", .connect_timeout_s = 10});
    cr_assert_not(pg_connect(pg, &err));
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_gt(server.len, 0, "%s", err.text);
    cr_expect(memmem(server.hello, (size_t)server.len, "db.test", 7), "the server name indication");
    close(server.listener);
}

/* --- several hosts --- */

Test(pg_open, silent_hosts_delay_the_good_one_but_little) {
    int silent = silent_port();
    use_printed(2 * LIMIT_S, "host=127.0.0.1,127.0.0.1,127.0.0.1 port=%d,%d,%d", silent, silent, port);
    expect_connects(SOON_US);
    cr_expect_eq(first, 2, "the next connection begins with the good host");
}

Test(pg_open, silent_hosts_share_one_time_limit) {
    int silent = silent_port();
    use_printed(LIMIT_S, "host=127.0.0.1,127.0.0.1,127.0.0.1 port=%d,%d,%d", silent, silent, silent);
    expect_fails(IN_TIME_US, "failed: timeout expired");
}

Test(pg_open, a_name_without_an_answer_does_not_delay_the_other_hosts) {
    use_printed(2 * LIMIT_S, "host=slow.test,127.0.0.1 port=%d", port);
    expect_connects(SOON_US);
    cr_expect_eq(first, 1);
}

Test(pg_open, an_answer_that_comes_late_is_used_in_the_same_attempt) {
    int silent = silent_port();
    fake_names_release();
    use_printed(5, "host=127.0.0.1,slow.test port=%d,%d", silent, port);
    expect_connects(SOON_US);
    cr_expect_eq(first, 1);
}

Test(pg_open, a_host_that_refuses_costs_no_time) {
    use_printed(5, "host=127.0.0.9,/nowhere,a..b,db.test port=%d", port);
    expect_connects(200 * US_PER_MS);
    cr_expect_eq(first, 3);
}

Test(pg_open, the_error_has_what_each_host_says) {
    use_printed(LIMIT_S, "host=127.0.0.9,/nowhere,a..b port=%d", port);
    struct err err = {0};
    cr_assert_not(pg_connect(pg, &err));
    cr_expect(strstr(err.text, "connection to server at \"127.0.0.9\""), "%s", err.text);
    cr_expect_not(strstr(err.text, "127.0.0.9: "), "an address is told once: %s", err.text);
    cr_expect(strstr(err.text, "/nowhere/.s.PGSQL."), "%s", err.text);
    cr_expect(strstr(err.text, "a..b: the name can't be resolved"), "%s", err.text);
}

Test(pg_open, a_connection_begins_with_the_host_that_was_reached_last) {
    int silent = silent_port();
    first = 1;
    use_printed(5, "host=127.0.0.1,127.0.0.1 port=%d,%d", silent, port);
    expect_connects(200 * US_PER_MS);
    cr_expect_eq(first, 1);
}

/* Closes each connection at once, as a standby does. */
static void *refuse_all(void *arg) {
    const int *listener = arg;
    int fd;
    while ((fd = accept(*listener, NULL, NULL)) >= 0) {
        atomic_fetch_add(&refusals, 1);
        close(fd);
    }
    return NULL;
}

Test(pg_open, a_host_that_refuses_is_asked_again_while_another_one_is_silent) {
    int refusing, listener = silent_listener(&refusing);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, refuse_all, &listener), 0);
    use_printed(2 * LIMIT_S, "host=127.0.0.1,127.0.0.1 port=%d,%d", silent_port(), refusing);
    struct err err = {0};
    cr_assert_not(pg_connect(pg, &err));
    cr_expect_geq(refusals, 2);
    cr_expect_leq(refusals, 5, "but not all the time");
    const char *told = strstr(err.text, "server closed");
    cr_assert(told, "%s", err.text);
    cr_expect_not(strstr(told + 1, "server closed"), "each failure is told once: %s", err.text);
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
}

/* --- the time limit --- */

Test(pg_open, a_call_that_has_to_be_answered_bounds_the_time_but_leaves_a_second) {
    use_printed(30, "host=127.0.0.1 port=%d", silent_port());
    pg_give_up_at(pg, clock_mono_us());
    expect_fails(IN_TIME_US, "failed: timeout expired");
}

Test(pg_open, the_url_may_have_a_time_limit_of_its_own) {
    use_printed(30, "host=127.0.0.1 port=%d connect_timeout=1", silent_port());
    expect_fails(IN_TIME_US, "failed: timeout expired");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* TLS to Redis as far as it goes without a server that speaks TLS. */
#include "store/redis_tls.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const struct redis_tls PLAIN = {.ca = "", .certificate = "", .key = "", .name = ""};

static void expect_refused(const struct redis_tls *tls, const char *begin) {
    struct err err = {0};
    cr_assert_not(redis_tls_check(tls, &err));
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_eq(strncmp(err.text, begin, strlen(begin)), 0, "%s", err.text);
}

Test(redis_tls, no_file_is_needed) {
    struct err err = {0};
    cr_assert(redis_tls_check(&PLAIN, &err), "%s", err.text);
}

Test(redis_tls, a_file_that_is_missing_or_not_pem_is_refused_by_its_setting) {
    char garbage[] = "/tmp/couponsd-pem-XXXXXX";
    char begin[100];
    int fd = mkstemp(garbage);
    cr_assert_eq(write(fd, "no PEM\n", 7), 7);
    close(fd);
    struct redis_tls tls = PLAIN;
    tls.ca = "/nonexistent/ca.pem";
    expect_refused(&tls, "redis.tls_ca: /nonexistent/ca.pem can't be used: ");
    tls = PLAIN;
    tls.certificate = garbage;
    tls.key = garbage;
    snprintf(begin, sizeof begin, "redis.tls_certificate: %s can't be used: ", garbage);
    expect_refused(&tls, begin);
    unlink(garbage);
}

/* Connects to a peer that sends `answer`, and then, if told so, ends the connection. */
static struct err failure_with(const struct redis_tls *tls, const char *answer, bool ends) {
    const struct timeval timeout = {.tv_usec = 20000};
    struct err err = {0};
    int sockets[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    cr_assert_eq(write(sockets[1], answer, strlen(answer)), (ssize_t)strlen(answer));
    if (ends)
        shutdown(sockets[1], SHUT_WR);
    cr_assert_null(redis_tls_connect(tls, "127.0.0.1", sockets[0], &err));
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect(err.retriable);
    close(sockets[0]);
    close(sockets[1]);
    return err;
}

Test(redis_tls, a_handshake_that_fails_says_why_and_may_be_tried_again) {
    struct err err = failure_with(&PLAIN, "", false);
    cr_expect_str_eq(err.text, "TLS: no answer to the handshake in time");
    err = failure_with(&PLAIN, "-ERR this server does not speak TLS\r\n", false);
    cr_expect_eq(strncmp(err.text, "TLS: ", 5), 0, "%s", err.text);
    err = failure_with(&PLAIN, "", true);
    cr_expect_eq(strncmp(err.text, "TLS: ", 5), 0, "%s", err.text);
}

Test(redis_tls, files_that_are_being_replaced_may_be_usable_soon) {
    struct redis_tls tls = PLAIN;
    tls.ca = "/nonexistent/ca.pem";
    struct err err = failure_with(&tls, "", false);
    cr_expect(strstr(err.text, "redis.tls_ca: "), "%s", err.text);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/cork.h"

#define RETRY_MS 5

#define LARGE    (300 << 10)

static int ours, theirs;
static struct cork cork;

static void open_pair(void) {
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ours = fds[0];
    theirs = fds[1];
    cork = (struct cork){0};
}

static void close_pair(void) {
    cork_close(&cork, ours);
    close(ours);
    close(theirs);
}

TestSuite(cork, .init = open_pair, .fini = close_pair, .timeout = 60);

/* Sends in pieces, as the core does. */
static ssize_t send_bytes(const char *bytes, size_t len) {
    struct iovec pieces[] = {{(char *)(uintptr_t)bytes, len / 2}, {(char *)(uintptr_t)bytes + len / 2, len - len / 2}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    return cork_send(&cork, ours, &message, MSG_NOSIGNAL);
}

static size_t receive(char *bytes, size_t max) {
    size_t len = 0;
    ssize_t n;
    while (len < max && (n = recv(theirs, bytes + len, max - len, 0)) > 0)
        len += (size_t)n;
    return len;
}

Test(cork, what_is_sent_without_a_batch_goes_out_at_once) {
    char bytes[16];
    cr_assert_eq(send_bytes("hello", 5), 5);
    cr_assert_eq(receive(bytes, sizeof bytes), 5);
    cr_assert_eq(memcmp(bytes, "hello", 5), 0);
}

Test(cork, what_is_sent_within_a_batch_goes_out_at_its_end_in_order) {
    char bytes[16];
    cork_begin();
    cr_assert_eq(send_bytes("one ", 4), 4);
    cr_assert_eq(send_bytes("two ", 4), 4);
    cr_assert_eq(recv(theirs, bytes, sizeof bytes, 0), -1);
    cork_begin(); /* opened by another thread */
    cr_assert_eq(send_bytes("three", 5), 5);
    cork_end();
    cr_assert_eq(receive(bytes, sizeof bytes), 13, "the end of any batch sends what there is");
    cr_assert_eq(memcmp(bytes, "one two three", 13), 0);
    cork_end();
}

Test(cork, a_client_that_does_not_read_gets_all_of_it_in_order_when_it_does) {
    char *sent = malloc(LARGE), *bytes = calloc(1, 20 * LARGE);
    size_t total = 0, got = 0;
    for (size_t i = 0; i < LARGE; i++)
        sent[i] = (char)(i * 31 + i / 256);
    cork_begin();
    /* The cork keeps the bytes that it has accepted, and reports EAGAIN for the rest. */
    for (int i = 0; i < 200; i++) {
        ssize_t n = send_bytes(sent + total % 1000, 4096);
        if (n < 0) {
            cr_assert_eq(errno, EAGAIN);
            break;
        }
        cr_assert_eq(n, 4096);
        total += (size_t)n;
    }
    cork_end();
    cr_assert_gt(total, 4096);
    while (got < total) {
        got += receive(bytes + got, 20 * LARGE - got);
        cork_retry(RETRY_MS);
    }
    cr_assert(cork_retry(RETRY_MS));
    cr_assert_eq(got, total);
    for (size_t at = 0; at < total; at += 4096)
        cr_assert_eq(memcmp(bytes + at, sent + at % 1000, 4096), 0, "at %zu", at);
    free(sent);
    free(bytes);
}

Test(cork, a_connection_that_is_broken_is_told_to_the_core_by_its_next_send) {
    cork_begin();
    cr_assert_eq(send_bytes("hello", 5), 5);
    close(theirs);
    cork_end();
    cr_assert_eq(send_bytes("hello", 5), -1);
    cr_assert_eq(errno, EPIPE);
    theirs = dup(ours);
}

Test(cork, what_is_held_back_goes_out_before_the_connection_is_closed) {
    char bytes[16];
    cork_begin();
    cr_assert_eq(send_bytes("bye", 3), 3);
    cork_push(&cork, ours);
    cr_assert_eq(receive(bytes, sizeof bytes), 3);
    cr_assert_eq(send_bytes("bye", 3), 3);
    cork_close(&cork, ours);
    cr_assert_eq(receive(bytes, sizeof bytes), 3);
    cork_end(); /* which finds nothing */
    cr_assert_eq(receive(bytes, sizeof bytes), 0);
}

static void *send_much(void *arg) {
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        if (i % 3 == 0)
            cork_begin();
        while (send_bytes("0123456789", 10) < 0)
            cork_retry(RETRY_MS);
        if (i % 3 == 0)
            cork_end();
    }
    return NULL;
}

Test(cork, threads_that_send_and_threads_that_end_batches_lose_nothing) {
    pthread_t threads[3];
    char bytes[60000 + 1];
    size_t got = 0;
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, send_much, NULL);
    while (got < 60000) {
        got += receive(bytes + got, sizeof bytes - got);
        cork_retry(RETRY_MS);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(got + receive(bytes + got, sizeof bytes - got), 60000);
    for (size_t i = 0; i < 60000; i++)
        cr_assert_eq(bytes[i], (char)('0' + i % 10));
}

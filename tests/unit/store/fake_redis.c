/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_redis.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/strbuf.h"

#define CLIENTS_MAX 16
#define ANSWERS_MAX 64
#define WAIT_US     (5 * US_PER_S)

struct client {
    int fd; /* -1: free */
    bool is_cut;
    struct strbuf in;
};

struct fake_redis {
    struct redis_address address;
    int listener, wake; /* an eventfd: the thread polls again */
    pthread_t thread;
    pthread_mutex_t lock; /* guards the fields below */
    bool is_ending;
    struct {
        char *command, *answer; /* answer: NULL: silence */
        bool is_once, is_used;
    } answers[ANSWERS_MAX];
    int n_answers, accepted;
    struct client clients[CLIENTS_MAX];
    struct strbuf heard; /* each command with a line feed */
};

/* --- the protocol --- */

/* Reads "MARK NUMBER CR LF" at *at. Returns false if it has not arrived in full. */
static bool read_number(const struct strbuf *in, size_t *at, char mark, size_t *ret) {
    const char *end = *at < in->len ? memchr(in->data + *at, '\n', in->len - *at) : NULL;
    if (!end)
        return false;
    if (in->data[*at] != mark)
        abort(); /* the client does not speak the protocol */
    *ret = strtoul(in->data + *at + 1, NULL, 10);
    *at = (size_t)(end - in->data) + 1;
    return true;
}

/* Takes one command out of `in`. Returns false if none has arrived in full. */
static bool take_command(struct strbuf *in, struct strbuf *command) {
    size_t at = 0, words, len;
    command->len = 0;
    strbuf_puts(command, "");
    if (!read_number(in, &at, '*', &words))
        return false;
    for (size_t i = 0; i < words; i++) {
        if (!read_number(in, &at, '$', &len) || in->len - at < len + 2)
            return false;
        strbuf_puts(command, i ? " " : "");
        strbuf_add(command, in->data + at, len);
        at += len + 2;
    }
    in->len -= at;
    memmove(in->data, in->data + at, in->len);
    return true;
}

static const char *answer_to(struct fake_redis *redis, const char *command) {
    for (int i = redis->n_answers - 1; i >= 0; i--) {
        if (redis->answers[i].is_used || strncmp(command, redis->answers[i].command, strlen(redis->answers[i].command)))
            continue;
        redis->answers[i].is_used = redis->answers[i].is_once;
        return redis->answers[i].answer;
    }
    return "-ERR unknown command\r\n";
}

/* --- clients: with the lock --- */

static void end_client(struct client *client) {
    close(client->fd);
    strbuf_deinit(&client->in);
    client->fd = -1;
}

static void accept_client(struct fake_redis *redis) {
    int fd = accept4(redis->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    redis->accepted++;
    for (struct client *client = redis->clients; client < redis->clients + CLIENTS_MAX; client++)
        if (client->fd < 0) {
            *client = (struct client){.fd = fd};
            return;
        }
    abort(); /* a test has more clients than this server takes */
}

/* Answers the commands that have arrived. Returns false at the end of the connection. */
static bool serve_client(struct fake_redis *redis, struct client *client) {
    char bytes[4096];
    ssize_t n = recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n <= 0 || client->is_cut)
        return false;
    strbuf_add(&client->in, bytes, (size_t)n);
    struct strbuf command = {0};
    bool goes_on = true;
    while (goes_on && take_command(&client->in, &command)) {
        strbuf_printf(&redis->heard, "%s\n", command.data);
        const char *answer = answer_to(redis, command.data);
        if (answer)
            goes_on = *answer && send(client->fd, answer, strlen(answer), MSG_NOSIGNAL) > 0;
    }
    strbuf_deinit(&command);
    return goes_on;
}

static void *serve(void *arg) {
    struct fake_redis *redis = arg;
    struct pollfd fds[CLIENTS_MAX + 2];
    for (;;) {
        fds[0] = (struct pollfd){.fd = redis->wake, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = redis->listener, .events = POLLIN};
        pthread_mutex_lock(&redis->lock);
        for (int i = 0; i < CLIENTS_MAX; i++)
            fds[i + 2] = (struct pollfd){.fd = redis->clients[i].fd, .events = POLLIN};
        bool is_ending = redis->is_ending;
        pthread_mutex_unlock(&redis->lock);
        if (is_ending)
            return NULL;
        poll(fds, CLIENTS_MAX + 2, -1);
        pthread_mutex_lock(&redis->lock);
        for (int i = 0; i < CLIENTS_MAX; i++)
            if (fds[i + 2].revents && !serve_client(redis, &redis->clients[i]))
                end_client(&redis->clients[i]);
        if (fds[1].revents)
            accept_client(redis);
        pthread_mutex_unlock(&redis->lock);
    }
}

/* --- the test's side --- */

static struct fake_redis *start(int family, const struct sockaddr *name, socklen_t len) {
    struct fake_redis *redis = memory_new(1, sizeof *redis);
    redis->listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    redis->wake = eventfd(0, EFD_CLOEXEC);
    cr_assert_eq(bind(redis->listener, name, len), 0);
    cr_assert_eq(listen(redis->listener, CLIENTS_MAX), 0);
    for (int i = 0; i < CLIENTS_MAX; i++)
        redis->clients[i].fd = -1;
    strbuf_puts(&redis->heard, "");
    pthread_mutex_init(&redis->lock, NULL);
    return redis;
}

static struct fake_redis *run(struct fake_redis *redis) {
    cr_assert_eq(pthread_create(&redis->thread, NULL, serve, redis), 0);
    return redis;
}

struct fake_redis *fake_redis_new(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof name;
    struct fake_redis *redis = start(AF_INET, (struct sockaddr *)&name, len);
    cr_assert_eq(getsockname(redis->listener, (struct sockaddr *)&name, &len), 0);
    redis->address = (struct redis_address){.host = "127.0.0.1", .port = ntohs(name.sin_port)};
    return run(redis);
}

struct fake_redis *fake_redis_new_unix(const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    struct fake_redis *redis = start(AF_UNIX, (struct sockaddr *)&name, sizeof name);
    snprintf(redis->address.host, sizeof redis->address.host, "%s", path);
    return run(redis);
}

static void wake(struct fake_redis *redis) {
    cr_assert_eq(eventfd_write(redis->wake, 1), 0);
}

void fake_redis_free(struct fake_redis *redis) {
    pthread_mutex_lock(&redis->lock);
    redis->is_ending = true;
    pthread_mutex_unlock(&redis->lock);
    wake(redis);
    pthread_join(redis->thread, NULL);
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (redis->clients[i].fd >= 0)
            end_client(&redis->clients[i]);
    close(redis->listener);
    close(redis->wake);
    if (!redis->address.port)
        unlink(redis->address.host);
    for (int i = 0; i < redis->n_answers; i++) {
        free(redis->answers[i].command);
        free(redis->answers[i].answer);
    }
    strbuf_deinit(&redis->heard);
    pthread_mutex_destroy(&redis->lock);
    free(redis);
}

const struct redis_address *fake_redis_address(const struct fake_redis *redis) {
    return &redis->address;
}

static void add_answer(struct fake_redis *redis, const char *command, const char *answer, bool is_once) {
    pthread_mutex_lock(&redis->lock);
    cr_assert_lt(redis->n_answers, ANSWERS_MAX);
    int i = redis->n_answers++;
    redis->answers[i].command = memory_copy(command);
    redis->answers[i].answer = answer ? memory_copy(answer) : NULL;
    redis->answers[i].is_once = is_once;
    pthread_mutex_unlock(&redis->lock);
}

void fake_redis_answer(struct fake_redis *redis, const char *command, const char *answer) {
    add_answer(redis, command, answer, false);
}

void fake_redis_answer_once(struct fake_redis *redis, const char *command, const char *answer) {
    add_answer(redis, command, answer, true);
}

void fake_redis_cut(struct fake_redis *redis) {
    pthread_mutex_lock(&redis->lock);
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (redis->clients[i].fd >= 0) {
            redis->clients[i].is_cut = true;
            shutdown(redis->clients[i].fd, SHUT_RDWR);
        }
    pthread_mutex_unlock(&redis->lock);
    fake_redis_await_no_client(redis);
}

int fake_redis_count(struct fake_redis *redis, const char *command) {
    int count = 0;
    pthread_mutex_lock(&redis->lock);
    for (const char *line = redis->heard.data; *line; line = strchr(line, '\n') + 1)
        count += strncmp(line, command, strlen(command)) == 0;
    pthread_mutex_unlock(&redis->lock);
    return count;
}

void fake_redis_expect(struct fake_redis *redis, const char *commands) {
    pthread_mutex_lock(&redis->lock);
    cr_expect_str_eq(redis->heard.data, commands);
    pthread_mutex_unlock(&redis->lock);
}

void fake_redis_forget(struct fake_redis *redis) {
    pthread_mutex_lock(&redis->lock);
    strbuf_deinit(&redis->heard);
    strbuf_puts(&redis->heard, "");
    pthread_mutex_unlock(&redis->lock);
}

int fake_redis_accepted(struct fake_redis *redis) {
    pthread_mutex_lock(&redis->lock);
    int accepted = redis->accepted;
    pthread_mutex_unlock(&redis->lock);
    return accepted;
}

void fake_redis_await_no_client(struct fake_redis *redis) {
    int64_t give_up_us = clock_mono_us() + WAIT_US;
    for (;;) {
        int clients = 0;
        pthread_mutex_lock(&redis->lock);
        for (int i = 0; i < CLIENTS_MAX; i++)
            clients += redis->clients[i].fd >= 0;
        pthread_mutex_unlock(&redis->lock);
        if (!clients)
            return;
        cr_assert_lt(clock_mono_us(), give_up_us, "a client is still connected");
        clock_sleep_us(US_PER_MS);
    }
}

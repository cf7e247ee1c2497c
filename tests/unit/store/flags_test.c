/* SPDX-License-Identifier: Apache-2.0 */
#include "store/flags.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"

/* --- Redis's end of one connection, which sends the test's answers --- */

struct toy_redis {
    int listener, port;
    pthread_t thread;
    const char *const *answers; /* one per command, in order; after the last one the connection is closed */
    struct strbuf heard;        /* valid once the thread has ended */
};

static void *serve(void *arg) {
    struct toy_redis *redis = arg;
    int client = accept(redis->listener, NULL, NULL);
    char bytes[4096];
    ssize_t n = 0;
    /* Each command arrives in one piece, since the client waits for the answer before it sends the next. */
    const char *const *answer = redis->answers;
    bool was_asked = false;
    while ((*answer || !was_asked) && (n = read(client, bytes, sizeof bytes - 1)) > 0) {
        bytes[n] = '\0';
        /* The client asks whether this is a node of a cluster. The test's answers are for the other commands. */
        bool is_question = strstr(bytes, "\nINFO\r") != NULL;
        was_asked = was_asked || is_question;
        if (!is_question && !*answer)
            break;
        if (!is_question)
            strbuf_add(&redis->heard, bytes, (size_t)n);
        const char *text = is_question ? "-NOPERM\r\n" : *answer++;
        if (write(client, text, strlen(text)) < 0)
            break;
    }
    close(client);
    return NULL;
}

static void redis_start(struct toy_redis *redis, const char *const *answers) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    *redis = (struct toy_redis){.listener = socket(AF_INET, SOCK_STREAM, 0), .answers = answers};
    strbuf_puts(&redis->heard, "");
    cr_assert_eq(bind(redis->listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(redis->listener, 1), 0);
    cr_assert_eq(getsockname(redis->listener, (struct sockaddr *)&address, &len), 0);
    redis->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&redis->thread, NULL, serve, redis), 0);
}

static void redis_end(struct toy_redis *redis) {
    pthread_join(redis->thread, NULL);
    close(redis->listener);
}

static struct flags *flags_at(const char *format, int port) {
    char url[200];
    struct flags *flags;
    struct err err = {0};
    int at = 0;
    for (const char *from = format; *from; from++)
        at += *from == '#' ? snprintf(url + at, sizeof url - (size_t)at, "%d", port)
                           : snprintf(url + at, sizeof url - (size_t)at, "%c", *from);
    cr_assert(flags_new(&(struct redis_options){.url = url, .timeout_ms = 2000}, &flags, &err), "%s", err.text);
    return flags;
}

/* --- the URL --- */

static void expect_refused(const char *url, const char *why) {
    struct flags *flags = NULL;
    struct err err = {0};
    cr_expect_not(flags_new(&(struct redis_options){.url = url, .timeout_ms = 100}, &flags, &err), "%s", url);
    cr_expect_null(flags);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect(strstr(err.text, why), "%s: %s", url, err.text);
    cr_expect_null(strstr(err.text, "s3cret"), "%s", err.text);
}

Test(flags, a_url_that_is_wrong_is_refused_by_name_and_never_repeated) {
    char host[400] = "redis://", user[6000] = "redis://";
    expect_refused("", "does not start with redis://");
    expect_refused("http://h", "does not start with redis://");
    expect_refused("127.0.0.1:6379", "does not start with redis://");
    expect_refused("redis://s3cret@h", "user:password or :password");
    expect_refused("redis://h:port", "the port is not a number");
    expect_refused("redis://h:65536", "the port is not a number");
    expect_refused("redis://h:-1", "the port is not a number");
    expect_refused("redis://:s3cret@h:", "the port is not a number");
    expect_refused("redis://h/x", "not a number up to 9999");
    expect_refused("redis://h/10000", "not a number up to 9999");
    expect_refused("redis://h/1/2", "not a number up to 9999");
    memset(host + 8, 'h', 300);
    expect_refused(host, "the host is too long");
    memset(user + 8, 'u', 4097);
    strcat(user, ":s3cret@h");
    expect_refused(user, "the credentials are too long");
}

/* The error of a failed connection names host and port. */
static void expect_address(const char *url, const char *address) {
    struct flags *flags;
    struct err err = {0};
    cr_assert(flags_new(&(struct redis_options){.url = url, .timeout_ms = 500}, &flags, &err), "%s: %s", url, err.text);
    cr_assert_not(flags_connect(flags, &err), "%s", url);
    cr_expect_eq(strncmp(err.text, address, strlen(address)), 0, "%s: %s", url, err.text);
    cr_expect(err.retriable);
    flags_free(flags);
}

Test(flags, a_url_has_host_and_port_and_defaults_for_both) {
    /* Nothing listens on port 1. A name with an empty label is invalid, so no name server is asked. */
    expect_address("redis://127.0.0.1:1", "127.0.0.1:1: ");
    expect_address("redis://127.0.0.1:1/", "127.0.0.1:1: ");
    expect_address("redis://:1/3", "127.0.0.1:1: ");
    expect_address("redis://[::1]:1/3", "::1:1: ");
    expect_address("redis://a..b", "a..b:6379: ");
    expect_address("redis://a..b/3", "a..b:6379: ");
    expect_address("redis://u:p@a@a..b:7", "a..b:7: ");
}

Test(flags, credentials_are_decoded_and_the_database_is_chosen) {
    static const char *const fine[] = {"+OK\r\n", "+OK\r\n", NULL};
    struct toy_redis redis;
    struct err err = {0};
    redis_start(&redis, fine);
    struct flags *flags = flags_at("redis://us%65r:p%40%2f%zz%@127.0.0.1:#/12", redis.port);
    cr_assert(flags_connect(flags, &err), "%s", err.text);
    flags_free(flags);
    redis_end(&redis);
    cr_expect_str_eq(redis.heard.data, "*3\r\n$4\r\nAUTH\r\n$4\r\nuser\r\n$7\r\np@/%zz%\r\n"
                                       "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n");
    strbuf_deinit(&redis.heard);
}

Test(flags, a_password_alone_is_the_default_users_and_database_0_needs_no_choice) {
    static const char *const fine[] = {"+OK\r\n", NULL};
    struct toy_redis redis;
    struct err err = {0};
    redis_start(&redis, fine);
    struct flags *flags = flags_at("redis://:pw@127.0.0.1:#/0", redis.port);
    cr_assert(flags_connect(flags, &err), "%s", err.text);
    flags_free(flags);
    redis_end(&redis);
    cr_expect_str_eq(redis.heard.data, "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n");
    strbuf_deinit(&redis.heard);
}

/* --- flags --- */

Test(flags, a_flag_is_true_false_or_missing_and_anything_else_counts_as_missing) {
    static const char *const answers[] = {"*8\r\n$4\r\ntrue\r\n$1\r\n8\r\n$5\r\nfalse\r\n$-1\r\n$-1\r\n$-1\r\n"
                                          "$3\r\nyes\r\n$1\r\nx\r\n",
                                          NULL};
    struct toy_redis redis;
    struct err err = {0};
    struct flag items[] = {{.coupon_id = 1}, {.coupon_id = 2}, {.coupon_id = 3}, {.coupon_id = 4}};
    redis_start(&redis, answers);
    struct flags *flags = flags_at("redis://127.0.0.1:#", redis.port);
    cr_assert(flags_get(flags, items, 0, &err), "for no coupon nobody is asked");
    cr_assert(flags_get(flags, items, 4, &err), "%s", err.text);
    cr_expect_eq(items[0].value, FLAG_TRUE);
    cr_expect_eq(items[0].version, 8);
    cr_expect_eq(items[1].value, FLAG_FALSE);
    cr_expect_eq(items[1].version, 0);
    cr_expect_eq(items[2].value, FLAG_MISSING);
    cr_expect_eq(items[3].value, FLAG_MISSING);
    cr_expect_eq(items[3].version, 0);
    flags_free(flags);
    redis_end(&redis);
    static const char once[] = "*9\r\n$4\r\nMGET\r\n$18\r\ncoupon:available:1\r\n$26\r\ncoupon:available_version:1\r\n";
    cr_expect_eq(strncmp(redis.heard.data, once, sizeof once - 1), 0, "%s", redis.heard.data);
    cr_expect_null(strstr(redis.heard.data + 1, "*"), "one MGET reads all: %s", redis.heard.data);
    strbuf_deinit(&redis.heard);
}

Test(flags, after_an_error_the_connection_is_dropped_and_not_tried_again_at_once) {
    static const char *const answers[] = {"-LOADING Redis is loading\r\n", NULL};
    struct toy_redis redis;
    struct err err = {0};
    struct flag item = {.coupon_id = 1, .value = FLAG_TRUE, .version = 3};
    redis_start(&redis, answers);
    struct flags *flags = flags_at("redis://127.0.0.1:#", redis.port);
    cr_assert_not(flags_set(flags, &item, 1, &err));
    cr_expect(strstr(err.text, "LOADING Redis is loading"), "%s", err.text);
    cr_expect(err.retriable);
    cr_assert_not(flags_get(flags, &item, 1, &err));
    cr_expect(strstr(err.text, "not reachable a moment ago"), "%s", err.text);
    cr_expect_eq(item.value, FLAG_TRUE, "what was not read is untouched");
    flags_free(flags);
    redis_end(&redis);
    strbuf_deinit(&redis.heard);
}

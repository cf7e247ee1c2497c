/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis_cluster.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "fake_redis.h"

#define RETRY_US (REDIS_RETRY_MS * (int64_t)US_PER_MS)
#define WAIT_US  (10 * US_PER_S)
#define LOW      100  /* a slot of the first half, which is `a`'s */
#define HIGH     9000 /* a slot of the second half, which is `b`'s */

static struct fake_redis *a, *b;
static struct redis_login login;
static struct redis_url url;
static struct redis_conn_options options;
static struct redis_cluster *cluster;
static char map[300], redirection[100];

static int port_of(const struct fake_redis *node) {
    return fake_redis_address(node)->port;
}

/* Writes the answer to CLUSTER SLOTS if `low` has the first half of the slots, and `high` the second. */
static const char *write_map(char to[static 300], const struct fake_redis *low, const struct fake_redis *high) {
    snprintf(to, 300,
             "*2\r\n*3\r\n:0\r\n:8191\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$2\r\nid\r\n"
             "*3\r\n:8192\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n",
             port_of(low), port_of(high));
    return to;
}

static void set_up(void) {
    struct redis_conn *first = NULL;
    a = fake_redis_new();
    b = fake_redis_new();
    redis_login_init(&login, &(struct redis_login_files){0}, "", "");
    options = (struct redis_conn_options){.timeout_us = WAIT_US, .login = &login, .resolver = resolver_new()};
    url = (struct redis_url){.addresses = {*fake_redis_address(a)}, .n_addresses = 1};
    fake_redis_answer(a, "CLUSTER SLOTS", write_map(map, a, b));
    fake_redis_answer(b, "CLUSTER SLOTS", map);
    fake_redis_answer(a, "GET", "$1\r\na\r\n");
    fake_redis_answer(b, "GET", "$1\r\nb\r\n");
    cr_assert(redis_conn_open(&options, fake_redis_address(a), &first, NULL));
    cluster = redis_cluster_new(&options, &url, first);
}

static void tear_down(void) {
    redis_cluster_free(cluster);
    resolver_free(options.resolver);
    fake_redis_free(a);
    fake_redis_free(b);
}

TestSuite(redis_cluster, .init = set_up, .fini = tear_down, .timeout = 60);

/* Reads a key of this slot, from the node that has this name. */
static void expect_from(unsigned slot, const char *node) {
    struct redis_command get = FAKE_COMMAND(slot, "GET", "k");
    struct err err = {0};
    bool ok = redis_cluster_run(cluster, &get, 1, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_str_eq(get.reply->str, node);
    redis_clear(&get, 1);
}

static void expect_failure(unsigned slot, const char *text) {
    struct redis_command get = FAKE_COMMAND(slot, "GET", "k");
    struct err err = {0};
    cr_assert_not(redis_cluster_run(cluster, &get, 1, &err));
    cr_expect(strstr(err.text, text), "%s", err.text);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    redis_clear(&get, 1);
}

static const char *redirect(const char *format, const struct fake_redis *to) {
    char *at = redirection;
    for (; *format; format++)
        at += *format == '#' ? sprintf(at, "%d", port_of(to)) : sprintf(at, "%c", *format);
    return redirection;
}

/* Runs commands until `node` has been asked for the map so many times. Returns how long that took. */
static int64_t await_map_requests(struct fake_redis *node, int n) {
    int64_t from_us = clock_mono_us();
    while (fake_redis_count(node, "CLUSTER SLOTS") < n) {
        struct redis_command get = FAKE_COMMAND(LOW, "GET", "k");
        (void)redis_cluster_run(cluster, &get, 1, NULL);
        redis_clear(&get, 1);
        cr_assert_lt(clock_mono_us() - from_us, WAIT_US);
        clock_sleep_us(US_PER_MS);
    }
    return clock_mono_us() - from_us;
}

/* --- the map --- */

Test(redis_cluster, each_command_goes_to_the_owner_of_its_slot) {
    struct redis_command gets[] = {FAKE_COMMAND(0, "GET", "0"), FAKE_COMMAND(8192, "GET", "1"),
                                   FAKE_COMMAND(8191, "GET", "2"), FAKE_COMMAND(16383, "GET", "3")};
    struct err err = {0};
    bool ok = redis_cluster_run(cluster, gets, 4, &err);
    cr_assert(ok, "%s", err.text);
    for (int i = 0; i < 4; i++)
        cr_expect_str_eq(gets[i].reply->str, i % 2 ? "b" : "a");
    redis_clear(gets, 4);
    fake_redis_expect(a, "CLUSTER SLOTS\nGET 0\nGET 2\n");
    fake_redis_expect(b, "GET 1\nGET 3\n");
    expect_from(LOW, "a");
    cr_expect_eq(fake_redis_accepted(a), 1);
    cr_expect_eq(fake_redis_count(a, "CLUSTER SLOTS"), 1, "the map is kept");
}

Test(redis_cluster, a_node_that_does_not_know_its_address_is_the_one_that_was_asked) {
    snprintf(map, sizeof map, "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$-1\r\n:%d\r\n", port_of(a));
    fake_redis_answer(a, "CLUSTER SLOTS", map);
    expect_from(HIGH, "a");
    cr_expect_eq(fake_redis_accepted(a), 1);
}

Test(redis_cluster, a_slot_that_no_node_owns_is_an_error_and_others_are_served) {
    snprintf(map, sizeof map, "*1\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n", port_of(a));
    fake_redis_answer(a, "CLUSTER SLOTS", map);
    expect_failure(HIGH, "no node of the cluster serves slot 9000");
    expect_from(LOW, "a");
}

Test(redis_cluster, ranges_that_make_no_sense_are_ignored) {
    snprintf(map, sizeof map,
             "*4\r\n:1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\nx\r\n:1\r\n*3\r\n:-1\r\n:5\r\n*2\r\n$1\r\nx\r\n:1\r\n"
             "*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n",
             port_of(b));
    fake_redis_answer(a, "CLUSTER SLOTS", map);
    expect_from(LOW, "b");
    expect_from(HIGH, "b");
}

Test(redis_cluster, a_user_who_may_not_read_the_map_is_served_by_redirections) {
    fake_redis_answer(a, "CLUSTER SLOTS", "-NOPERM this user has no permissions\r\n");
    fake_redis_answer_once(a, "GET", redirect("-MOVED 9000 127.0.0.1:#\r\n", b));
    expect_from(HIGH, "b");
    expect_from(LOW, "a");
    fake_redis_forget(a);
    expect_from(HIGH, "b");
    fake_redis_expect(a, "");
}

Test(redis_cluster, a_server_that_is_no_cluster_any_more_ends_it) {
    fake_redis_answer(a, "CLUSTER SLOTS", "-ERR This instance has cluster support disabled\r\n");
    cr_expect_not(redis_cluster_is_gone(cluster));
    expect_failure(LOW, "the servers are no cluster any more");
    cr_expect(redis_cluster_is_gone(cluster));
    cr_expect_eq(fake_redis_count(a, "GET"), 0);
}

Test(redis_cluster, a_node_that_is_loading_does_not_give_the_map) {
    url.addresses[1] = *fake_redis_address(b);
    url.n_addresses = 2;
    fake_redis_answer(a, "CLUSTER SLOTS", "-LOADING Redis is loading the dataset in memory\r\n");
    expect_from(HIGH, "b");
    cr_expect_eq(fake_redis_count(b, "CLUSTER SLOTS"), 1);
}

Test(redis_cluster, an_empty_map_does_not_replace_the_one_that_is_known) {
    expect_from(HIGH, "b");
    fake_redis_answer(a, "CLUSTER SLOTS", "*0\r\n");
    fake_redis_answer(b, "CLUSTER SLOTS", "*0\r\n");
    fake_redis_answer_once(a, "GET", "-CLUSTERDOWN Hash slot not served\r\n");
    expect_failure(LOW, "CLUSTERDOWN Hash slot not served");
    await_map_requests(b, 1);
    expect_from(LOW, "a");
    expect_from(HIGH, "b");
}

Test(redis_cluster, a_new_map_closes_the_connections_of_nodes_that_it_does_not_list) {
    expect_from(HIGH, "b");
    fake_redis_answer(a, "CLUSTER SLOTS", write_map(map, a, a));
    fake_redis_answer(b, "CLUSTER SLOTS", map);
    fake_redis_answer_once(b, "GET", redirect("-MOVED 9000 127.0.0.1:#\r\n", a));
    expect_from(HIGH, "a");
    int64_t give_up_us = clock_mono_us() + WAIT_US;
    while (fake_redis_count(a, "CLUSTER SLOTS") + fake_redis_count(b, "CLUSTER SLOTS") < 2) {
        expect_from(LOW, "a");
        cr_assert_lt(clock_mono_us(), give_up_us);
    }
    fake_redis_await_no_client(b);
    expect_from(HIGH + 1, "a");
}

Test(redis_cluster, the_map_is_read_again_after_a_pause_and_not_before) {
    int64_t from_us = clock_mono_us();
    expect_from(LOW, "a");
    for (unsigned slot = 0; slot < 3; slot++) {
        fake_redis_answer_once(a, "GET", redirect("-MOVED 1 127.0.0.1:#\r\n", b));
        expect_from(slot, "b");
    }
    if (clock_mono_us() - from_us < RETRY_US)
        cr_expect_eq(fake_redis_count(a, "CLUSTER SLOTS") + fake_redis_count(b, "CLUSTER SLOTS"), 1);
    fake_redis_answer(b, "CLUSTER SLOTS", "-ERR not now\r\n");
    while (fake_redis_count(a, "CLUSTER SLOTS") + fake_redis_count(b, "CLUSTER SLOTS") < 2) {
        expect_from(LOW, "a");
        cr_assert_lt(clock_mono_us() - from_us, WAIT_US);
    }
    cr_expect_geq(clock_mono_us() - from_us, RETRY_US);
}

/* --- redirections --- */

Test(redis_cluster, a_command_follows_a_move_and_the_next_one_knows_the_way) {
    fake_redis_answer_once(a, "GET", redirect("-MOVED 100 127.0.0.1:#\r\n", b));
    expect_from(LOW, "b");
    fake_redis_forget(a);
    expect_from(LOW, "b");
    fake_redis_expect(a, "");
    expect_from(LOW + 1, "a");
}

Test(redis_cluster, a_move_without_a_host_stays_at_the_host_that_answers) {
    fake_redis_answer_once(a, "GET", redirect("-MOVED 100 :#\r\n", b));
    expect_from(LOW, "b");
    fake_redis_answer_once(a, "GET", redirect("-MOVED 101 ?:#\r\n", b));
    expect_from(LOW + 1, "b");
}

Test(redis_cluster, a_redirection_without_an_address_is_an_error) {
    fake_redis_answer_once(a, "GET", "-MOVED somewhere\r\n");
    expect_failure(LOW, "MOVED somewhere");
}

Test(redis_cluster, a_key_that_is_being_moved_is_asked_for_once_and_the_owner_stays) {
    fake_redis_answer(b, "ASKING", "+OK\r\n");
    fake_redis_answer_once(a, "GET", redirect("-ASK 100 127.0.0.1:#\r\n", b));
    expect_from(LOW, "b");
    fake_redis_expect(b, "ASKING\nGET k\n");
    expect_from(LOW, "a");
}

Test(redis_cluster, a_command_is_repeated_while_its_keys_are_being_moved) {
    for (int i = 0; i < 3; i++)
        fake_redis_answer_once(a, "GET", "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    expect_from(LOW, "a");
    cr_expect_eq(fake_redis_count(a, "GET"), 4);
}

Test(redis_cluster, redirections_without_an_end_are_an_error) {
    fake_redis_answer(a, "GET", redirect("-MOVED 100 127.0.0.1:#\r\n", a));
    expect_failure(LOW, "redirects without an end");
    cr_expect_leq(fake_redis_count(a, "GET"), 8);
}

/* --- failures --- */

Test(redis_cluster, a_connection_that_was_cut_is_renewed_at_once) {
    expect_from(LOW, "a");
    fake_redis_cut(a);
    expect_from(LOW, "a");
    cr_expect_eq(fake_redis_accepted(a), 2);
}

Test(redis_cluster, a_node_that_does_not_serve_is_not_tried_again_at_once_and_others_serve) {
    fake_redis_answer(b, "GET", FAKE_CLOSE);
    struct redis_command gets[] = {FAKE_COMMAND(LOW, "GET", "k"), FAKE_COMMAND(HIGH, "GET", "k")};
    struct err err = {0};
    cr_assert_not(redis_cluster_run(cluster, gets, 2, &err));
    cr_expect_str_eq(gets[0].reply->str, "a");
    cr_expect_null(gets[1].reply);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    redis_clear(gets, 2);
    expect_failure(HIGH, "not reachable a moment ago");
    cr_expect_eq(fake_redis_count(b, "GET"), 1);
}

Test(redis_cluster, after_a_failover_the_new_owner_serves) {
    expect_from(HIGH, "b");
    fake_redis_answer(a, "CLUSTER SLOTS", write_map(map, a, a));
    fake_redis_answer(b, "GET", FAKE_CLOSE);
    fake_redis_answer(b, "CLUSTER SLOTS", FAKE_CLOSE);
    int64_t give_up_us = clock_mono_us() + WAIT_US;
    bool is_served = false;
    while (!is_served) {
        struct redis_command get = FAKE_COMMAND(HIGH, "GET", "k");
        is_served = redis_cluster_run(cluster, &get, 1, NULL);
        if (is_served)
            cr_expect_str_eq(get.reply->str, "a");
        redis_clear(&get, 1);
        cr_assert_lt(clock_mono_us(), give_up_us);
        clock_sleep_us(US_PER_MS);
    }
}

Test(redis_cluster, a_refusal_of_a_command_keeps_the_connection_and_others_end_it) {
    expect_from(LOW, "a");
    fake_redis_answer_once(a, "GET", "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    expect_failure(LOW, "OOM command not allowed");
    expect_from(LOW, "a");
    cr_expect_eq(fake_redis_accepted(a), 1);
    fake_redis_answer_once(a, "GET", "-LOADING Redis is loading the dataset in memory\r\n");
    expect_failure(LOW, "LOADING Redis is loading");
    fake_redis_await_no_client(a);
    expect_failure(LOW, "not reachable a moment ago");
}

Test(redis_cluster, words_of_errors_are_compared_as_a_whole) {
    redisReply reply = {.type = REDIS_REPLY_ERROR, .str = (char[]){"MOVED 1 h:2"}};
    cr_expect(redis_error_is(&reply, "MOVED"));
    cr_expect_not(redis_error_is(&reply, "MOVE"));
    cr_expect_not(redis_error_is(&reply, "ASK"));
    reply.type = REDIS_REPLY_STATUS;
    cr_expect_not(redis_error_is(&reply, "MOVED"));
}

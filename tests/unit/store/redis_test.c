/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "fake_redis.h"

#define RETRY_US (REDIS_RETRY_MS * (int64_t)US_PER_MS)
#define WAIT_US  (10 * US_PER_S)
#define MASTER   "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
#define REPLICA  "*5\r\n$5\r\nslave\r\n$1\r\nm\r\n:1\r\n$9\r\nconnected\r\n:0\r\n"
#define LONE     "$17\r\ncluster_enabled:0\r\n"
#define NODE     "$17\r\ncluster_enabled:1\r\n"

static struct fake_redis *one, *other;
static struct redis *redis;
static struct redis_options options;
static char url[200], sentinel_answer[200];

/* Both are single servers, and masters, with the key a. */
static struct fake_redis *server(const char *value) {
    struct fake_redis *fake = fake_redis_new();
    fake_redis_answer(fake, "INFO cluster", LONE);
    fake_redis_answer(fake, "ROLE", MASTER);
    fake_redis_answer(fake, "GET a", value);
    return fake;
}

static void set_up(void) {
    one = server("$3\r\none\r\n");
    other = server("$5\r\nother\r\n");
    options = (struct redis_options){.url = url, .timeout_ms = 5000};
}

static void tear_down(void) {
    redis_free(redis);
    fake_redis_free(one);
    fake_redis_free(other);
}

TestSuite(redis, .init = set_up, .fini = tear_down, .timeout = 60);

static int port_of(const struct fake_redis *fake) {
    return fake_redis_address(fake)->port;
}

static void make(void) {
    struct err err = {0};
    bool ok = redis_new(&options, &redis, &err);
    cr_assert(ok, "%s", err.text);
}

static void make_single(void) {
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", port_of(one));
    make();
}

static void make_for_both(void) {
    snprintf(url, sizeof url, "redis://127.0.0.1:%d,127.0.0.1:%d", port_of(one), port_of(other));
    make();
}

/* Reads the key a. */
static void expect_value(const char *value) {
    struct redis_command get = FAKE_COMMAND(0, "GET", "a");
    struct err err = {0};
    bool ok = redis_run(redis, &get, 1, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_str_eq(get.reply->str, value);
    redis_clear(&get, 1);
    cr_expect_null(get.reply);
}

static void expect_failure(const char *text) {
    struct redis_command get = FAKE_COMMAND(0, "GET", "a");
    struct err err = {0};
    cr_assert_not(redis_run(redis, &get, 1, &err));
    cr_expect(strstr(err.text, text), "%s", err.text);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_eq(err.backend, BACKEND_REDIS);
    redis_clear(&get, 1);
}

/* Reads the key a until the server answers. Returns how long that took. */
static int64_t await_value(const char *value) {
    int64_t from_us = clock_mono_us();
    for (;;) {
        struct redis_command get = FAKE_COMMAND(0, "GET", "a");
        struct err err;
        bool is_there = redis_run(redis, &get, 1, &err) && strcmp(get.reply->str, value) == 0;
        redis_clear(&get, 1);
        if (is_there)
            return clock_mono_us() - from_us;
        cr_assert_lt(clock_mono_us() - from_us, WAIT_US);
        clock_sleep_us(US_PER_MS);
    }
}

/* --- one server --- */

Test(redis, a_new_object_connects_with_its_first_command) {
    make_single();
    cr_expect_eq(fake_redis_accepted(one), 0);
    expect_value("one");
    expect_value("one");
    cr_expect_eq(fake_redis_accepted(one), 1);
    cr_expect_not(redis_is_cluster(redis));
    fake_redis_expect(one, "INFO cluster\nGET a\nGET a\n");
}

Test(redis, a_connection_that_did_not_answer_info_in_time_is_not_used) {
    options.timeout_ms = 100;
    make_single();
    fake_redis_answer_once(one, "INFO cluster", FAKE_SILENCE);
    expect_failure("no answer");
    await_value("one");
    cr_expect_eq(fake_redis_accepted(one), 2);
    fake_redis_expect(one, "INFO cluster\nINFO cluster\nGET a\n");
}

Test(redis, a_server_that_refuses_the_connection_is_quoted) {
    static const char *const refusals[] = {"DENIED Redis is running in protected mode",
                                           "NOAUTH Authentication required.", "ERR max number of clients reached"};
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        char answer[100];
        snprintf(answer, sizeof answer, "-%s\r\n", refusals[i]);
        fake_redis_answer(one, "INFO cluster", answer);
        make_single();
        expect_failure(refusals[i]);
        redis_free(redis);
        redis = NULL;
    }
}

Test(redis, a_user_who_may_not_run_info_is_served) {
    fake_redis_answer(one, "INFO cluster", "-NOPERM this user has no permissions to run the 'info' command\r\n");
    make_single();
    expect_value("one");
}

Test(redis, it_connects_at_once_if_told_so_and_a_failure_is_no_error) {
    options.connects_at_once = true;
    make_single();
    fake_redis_expect(one, "INFO cluster\n");
    redis_free(redis);
    snprintf(url, sizeof url, "redis://127.0.0.1:1");
    make();
    expect_failure("127.0.0.1:1: not reachable a moment ago");
}

Test(redis, a_failure_to_connect_is_not_repeated_for_a_while) {
    snprintf(url, sizeof url, "redis://127.0.0.1:1");
    make();
    expect_failure("127.0.0.1:1: Connection refused");
    expect_failure("127.0.0.1:1: not reachable a moment ago");
}

Test(redis, commands_are_one_pipeline_and_each_gets_its_reply) {
    fake_redis_answer(one, "GET b", "$-1\r\n");
    make_single();
    struct redis_command gets[] = {FAKE_COMMAND(1, "GET", "a"), FAKE_COMMAND(2, "GET", "b"),
                                   FAKE_COMMAND(3, "GET", "a")};
    struct err err = {0};
    bool ok = redis_run(redis, gets, 3, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_str_eq(gets[0].reply->str, "one");
    cr_expect_eq(gets[1].reply->type, REDIS_REPLY_NIL);
    cr_expect_str_eq(gets[2].reply->str, "one");
    redis_clear(gets, 3);
}

Test(redis, an_error_fails_the_call_and_the_other_replies_are_there) {
    fake_redis_answer(one, "GET b", "-WRONGTYPE it is a list\r\n");
    make_single();
    struct redis_command gets[] = {FAKE_COMMAND(0, "GET", "b"), FAKE_COMMAND(0, "GET", "a")};
    struct err err = {0};
    cr_assert_not(redis_run(redis, gets, 2, &err));
    cr_expect(strstr(err.text, ": WRONGTYPE it is a list"), "%s", err.text);
    cr_expect_str_eq(gets[1].reply->str, "one");
    redis_clear(gets, 2);
}

Test(redis, a_refusal_of_a_command_keeps_the_connection) {
    static const char *const refusals[] = {
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-NOPERM this user has no permissions\r\n",
        "-MISCONF Redis is configured to save RDB snapshots\r\n",
        "-NOREPLICAS Not enough good replicas to write.\r\n",
        "-BUSY Redis is busy running a script.\r\n",
        "-ERR Error running script: -MISCONF it is so\r\n",
    };
    make_single();
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        char word[12] = {0};
        memcpy(word, refusals[i] + 1, strcspn(refusals[i] + 1, " "));
        fake_redis_answer_once(one, "GET a", refusals[i]);
        expect_failure(word);
        expect_value("one");
    }
    cr_expect_eq(fake_redis_accepted(one), 1);
}

Test(redis, a_server_that_is_loading_is_left_and_tried_again_after_a_pause) {
    make_single();
    fake_redis_answer_once(one, "GET a", "-LOADING Redis is loading the dataset in memory\r\n");
    expect_failure("LOADING Redis is loading the dataset in memory");
    fake_redis_await_no_client(one);
    expect_failure("not reachable a moment ago");
    cr_expect_geq(await_value("one"), RETRY_US * 9 / 10);
    cr_expect_eq(fake_redis_accepted(one), 2);
}

Test(redis, a_missing_login_ends_the_connection) {
    make_single();
    fake_redis_answer(one, "GET a", "-NOAUTH Authentication required.\r\n");
    expect_failure("NOAUTH Authentication required.");
    fake_redis_await_no_client(one);
    expect_failure("not reachable a moment ago");
}

Test(redis, no_answer_in_time_ends_the_connection) {
    options.timeout_ms = 300;
    make_single();
    expect_value("one");
    fake_redis_answer(one, "GET a", FAKE_SILENCE);
    expect_failure("no answer in time");
    cr_expect_eq(fake_redis_count(one, "GET a"), 2, "the command is not repeated");
    expect_failure("not reachable a moment ago");
}

Test(redis, commands_are_repeated_once_if_the_connection_was_cut_while_idle) {
    make_single();
    expect_value("one");
    fake_redis_cut(one);
    expect_value("one");
    cr_expect_eq(fake_redis_accepted(one), 2);
    fake_redis_answer(one, "GET a", FAKE_CLOSE);
    expect_failure("the server closed the connection");
    cr_expect_eq(fake_redis_count(one, "GET a"), 4, "two that were served, and one that was repeated once");
    expect_failure("not reachable a moment ago");
}

Test(redis, a_replica_can_be_read_but_its_connection_is_renewed_after_a_pause) {
    make_single();
    struct redis_command set = FAKE_COMMAND(0, "SET", "a", "x");
    struct err err;
    fake_redis_answer(one, "SET a", "-READONLY You can't write against a read only replica.\r\n");
    expect_value("one");
    int64_t from_us = clock_mono_us();
    cr_assert_not(redis_run(redis, &set, 1, &err));
    redis_clear(&set, 1);
    expect_value("one");
    if (clock_mono_us() - from_us < RETRY_US)
        cr_expect_eq(fake_redis_accepted(one), 1);
    while (fake_redis_accepted(one) == 1) {
        expect_value("one");
        cr_assert_lt(clock_mono_us() - from_us, WAIT_US);
    }
    cr_expect_geq(clock_mono_us() - from_us, RETRY_US);
}

/* --- several servers --- */

Test(redis, of_several_servers_the_first_master_serves) {
    fake_redis_answer(one, "ROLE", REPLICA);
    make_for_both();
    expect_value("other");
    fake_redis_expect(one, "ROLE\n");
    fake_redis_expect(other, "ROLE\nGET a\n");
    fake_redis_await_no_client(one);
}

Test(redis, a_server_that_does_not_tell_its_role_counts_as_a_master) {
    fake_redis_answer(one, "ROLE", "-NOPERM this user has no permissions\r\n");
    make_for_both();
    expect_value("one");
}

Test(redis, without_a_master_the_error_says_so) {
    fake_redis_answer(one, "ROLE", REPLICA);
    fake_redis_answer(other, "ROLE", REPLICA);
    make_for_both();
    expect_failure("it is a replica, which takes no writes");
    cr_expect_eq(fake_redis_count(one, "ROLE"), 1);
    cr_expect_eq(fake_redis_count(other, "ROLE"), 1);
}

Test(redis, after_a_failover_the_new_master_serves) {
    make_for_both();
    expect_value("one");
    fake_redis_answer(one, "GET a", "-READONLY You can't write against a read only replica.\r\n");
    fake_redis_answer(one, "ROLE", REPLICA);
    expect_failure("READONLY ");
    fake_redis_await_no_client(one);
    await_value("other");
    fake_redis_cut(other);
    fake_redis_forget(one);
    expect_value("other");
    fake_redis_expect(one, "");
}

/* --- Sentinel --- */

static void name_master(const struct fake_redis *master) {
    int port = port_of(master);
    snprintf(sentinel_answer, sizeof sentinel_answer, "*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n",
             snprintf(NULL, 0, "%d", port), port);
}

static void make_sentinel(const struct fake_redis *sentinel) {
    snprintf(url, sizeof url, "redis+sentinel://:pw@127.0.0.1:1,127.0.0.1:%d/shop/2", port_of(sentinel));
    make();
}

Test(redis, a_sentinel_names_the_master_and_has_credentials_of_its_own) {
    options.sentinel_user = "watch";
    options.sentinel_password = "dog";
    name_master(other);
    fake_redis_answer(one, "AUTH watch dog", "+OK\r\n");
    fake_redis_answer(one, "SENTINEL", sentinel_answer);
    fake_redis_answer(other, "AUTH pw", "+OK\r\n");
    fake_redis_answer(other, "SELECT 2", "+OK\r\n");
    make_sentinel(one);
    expect_value("other");
    fake_redis_expect(one, "AUTH watch dog\nSENTINEL get-master-addr-by-name shop\n");
    fake_redis_expect(other, "AUTH pw\nSELECT 2\nROLE\nGET a\n");
    fake_redis_await_no_client(one);
}

Test(redis, a_sentinel_that_does_not_know_the_master_is_an_error) {
    fake_redis_answer(one, "SENTINEL", "*-1\r\n");
    make_sentinel(one);
    expect_failure("the Sentinel knows no master of the name in redis.url");
}

Test(redis, a_sentinel_that_names_a_replica_is_not_believed) {
    name_master(other);
    fake_redis_answer(one, "SENTINEL", sentinel_answer);
    fake_redis_answer(other, "AUTH pw", "+OK\r\n");
    fake_redis_answer(other, "SELECT 2", "+OK\r\n");
    fake_redis_answer(other, "ROLE", REPLICA);
    make_sentinel(one);
    expect_failure("a Sentinel names this server as the master, but it is a replica");
    cr_expect_eq(fake_redis_count(other, "GET"), 0);
}

/* --- clusters --- */

static void expect_cluster_after(const char *error, const char *text) {
    make_single();
    fake_redis_answer_once(one, "GET a", error);
    expect_failure(text);
    cr_expect(redis_is_cluster(redis));
    cr_expect_eq(fake_redis_count(one, "CLUSTER SLOTS"), 1);
    cr_expect_eq(fake_redis_accepted(one), 1, "the connection becomes the cluster's");
    expect_value("one");
}

Test(redis, a_redirection_shows_that_it_is_a_cluster) {
    expect_cluster_after("-MOVED 3157 127.0.0.1:1\r\n", "MOVED 3157 127.0.0.1:1");
}

Test(redis, a_question_to_go_elsewhere_shows_that_it_is_a_cluster) {
    expect_cluster_after("-ASK 3157 127.0.0.1:1\r\n", "ASK 3157 127.0.0.1:1");
}

Test(redis, a_refusal_of_keys_in_different_slots_shows_that_it_is_a_cluster) {
    expect_cluster_after("-CROSSSLOT Keys in request don't hash to the same slot\r\n", "CROSSSLOT ");
}

Test(redis, a_script_that_may_not_use_its_keys_shows_that_it_is_a_cluster) {
    expect_cluster_after("-ERR Script attempted to access keys that do not hash to the same slot\r\n", "same slot");
}

Test(redis, a_node_says_at_once_that_it_belongs_to_a_cluster) {
    fake_redis_answer(one, "INFO cluster", NODE);
    make_single();
    expect_failure("it is a node of a cluster");
    cr_expect(redis_is_cluster(redis));
    expect_value("one");
    fake_redis_expect(one, "INFO cluster\nCLUSTER SLOTS\nGET a\n");
}

Test(redis, a_cluster_that_is_gone_leaves_a_single_server) {
    make_single();
    fake_redis_answer_once(one, "GET a", "-MOVED 0 127.0.0.1:1\r\n");
    expect_failure("MOVED 0");
    fake_redis_answer(one, "CLUSTER SLOTS", "-ERR This instance has cluster support disabled\r\n");
    fake_redis_answer_once(one, "GET a", FAKE_CLOSE);
    await_value("one");
    fake_redis_answer_once(one, "GET a", "-CLUSTERDOWN The cluster is down\r\n");
    expect_failure("CLUSTERDOWN");
    int64_t give_up_us = clock_mono_us() + WAIT_US;
    while (redis_is_cluster(redis)) {
        struct redis_command get = FAKE_COMMAND(0, "GET", "a");
        (void)redis_run(redis, &get, 1, NULL);
        redis_clear(&get, 1);
        cr_assert_lt(clock_mono_us(), give_up_us);
        clock_sleep_us(US_PER_MS);
    }
    await_value("one");
}

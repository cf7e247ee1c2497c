/* SPDX-License-Identifier: Apache-2.0 */
/* Redis as it is installed; see redis.h. */
#include "store/redis.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "store/redis_cluster.h"
#include "store/redis_conn.h"

#define RETRY_US (REDIS_RETRY_MS * (int64_t)US_PER_MS)

struct redis {
    struct redis_url url;
    struct redis_tls tls;
    struct redis_conn_options server, sentinel;
    struct redis_login login, sentinel_login;
    struct redis_conn *conn; /* to the one server or master; NULL: not connected */
    size_t first_address;    /* the address that is tried first: the one that served last */
    int64_t retry_at_us;     /* no attempt to connect before */
    int64_t renew_at_us;     /* the server takes no writes, since it is a replica: time to connect again; 0: no need */
    struct redis_cluster *cluster; /* NULL: one server */
};

static const char *or_empty(const char *text) {
    return text ? text : "";
}

bool redis_new(const struct redis_options *options, struct redis **ret_redis, struct err *err) {
    struct redis_url url;
    const struct redis_tls tls = {.ca = or_empty(options->tls.ca),
                                  .certificate = or_empty(options->tls.certificate),
                                  .key = or_empty(options->tls.key),
                                  .name = or_empty(options->tls.name)};
    if (!redis_url_parse(options->url, &url, err) || (url.has_tls && !redis_tls_check(&tls, err)))
        return false;
    struct redis *redis = memory_new(1, sizeof *redis);
    redis->url = url;
    redis_login_init(&redis->login, &options->login, url.user, url.password);
    redis_login_init(&redis->sentinel_login, &options->sentinel_login, or_empty(options->sentinel_user),
                     or_empty(options->sentinel_password));
    redis->tls = tls;
    redis->server = (struct redis_conn_options){.timeout_us = options->timeout_ms * US_PER_MS,
                                                .tls = url.has_tls ? &redis->tls : NULL,
                                                .login = &redis->login,
                                                .db = url.db,
                                                .resolver = resolver_new()};
    redis->sentinel = redis->server;
    redis->sentinel.login = &redis->sentinel_login;
    redis->sentinel.db = 0;
    struct err problem;
    if (options->connects_at_once)
        (void)redis_connect(redis, &problem);
    *ret_redis = redis;
    return true;
}

void redis_free(struct redis *redis) {
    if (!redis)
        return;
    redis_conn_close(redis->conn);
    redis_cluster_free(redis->cluster);
    resolver_free(redis->server.resolver);
    free(redis);
}

bool redis_is_cluster(const struct redis *redis) {
    return redis->cluster != NULL;
}

void redis_clear(struct redis_command *commands, size_t n) {
    for (size_t i = 0; i < n; i++) {
        freeReplyObject(commands[i].reply);
        commands[i].reply = NULL;
    }
}

/* --- finding the server --- */

static void drop(struct redis *redis) {
    redis_conn_close(redis->conn);
    redis->conn = NULL;
    redis->renew_at_us = 0;
    redis->retry_at_us = clock_mono_us() + RETRY_US;
}

/* Some users may not run a command, and some proxies do not know it. */
static bool is_not_for_us(const char *error) {
    return strncmp(error, "NOPERM", strlen("NOPERM")) == 0 ||
           (strncmp(error, "ERR ", strlen("ERR ")) == 0 && !strstr(error, "max number of clients"));
}

/* Asks the server about itself. *ret_reply is NULL if we may not ask. Fails if no answer comes, since it could come
 * later, in place of the answer to another command, and if the server refuses the connection. */
static bool ask(struct redis_conn *conn, int argc, const char **argv, redisReply **ret_reply, struct err *err) {
    redisReply *reply = NULL;
    redis_conn_append(conn, argc, argv);
    if (!redis_conn_flush(conn, err) || !redis_conn_read(conn, &reply, err))
        return false;
    *ret_reply = reply;
    if (reply->type != REDIS_REPLY_ERROR)
        return true;
    bool is_fine = is_not_for_us(reply->str);
    if (!is_fine)
        redis_address_error(redis_conn_address(conn), err, reply->str);
    freeReplyObject(reply);
    *ret_reply = NULL;
    return is_fine;
}

/* *ret_is_replica is false unless the server says that it is one. */
static bool ask_role(struct redis_conn *conn, bool *ret_is_replica, struct err *err) {
    const char *argv[] = {"ROLE"};
    redisReply *reply;
    if (!ask(conn, 1, argv, &reply, err))
        return false;
    *ret_is_replica = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
                      reply->element[0]->type == REDIS_REPLY_STRING && strcmp(reply->element[0]->str, "master") != 0;
    freeReplyObject(reply);
    return true;
}

/* A user who may not run INFO is not told that this is a cluster. Then the errors of other commands tell. */
static bool ask_kind(struct redis_conn *conn, bool *ret_is_node, struct err *err) {
    const char *argv[] = {"INFO", "cluster"};
    redisReply *reply;
    if (!ask(conn, 2, argv, &reply, err))
        return false;
    *ret_is_node = reply && reply->type == REDIS_REPLY_STRING && strstr(reply->str, "cluster_enabled:1");
    freeReplyObject(reply);
    return true;
}

static void become_cluster(struct redis *redis) {
    redis->cluster = redis_cluster_new(&redis->server, &redis->url, redis->conn);
    redis->conn = NULL;
    struct err err;
    (void)redis_cluster_load_map(redis->cluster, &err); /* redis_cluster_run tries again */
}

static bool open_master(struct redis *redis, const struct redis_address *address, const char *otherwise,
                        struct err *err) {
    struct redis_conn *conn;
    bool is_replica = false;
    if (!redis_conn_open(&redis->server, address, &conn, err))
        return false;
    bool ok = ask_role(conn, &is_replica, err);
    if (ok && !is_replica) {
        redis->conn = conn;
        return true;
    }
    redis_conn_close(conn);
    return ok ? redis_address_error(address, err, otherwise) : false;
}

/* Asks one Sentinel where the master is. */
static bool ask_sentinel(struct redis *redis, const struct redis_address *sentinel, struct redis_address *ret_master,
                         struct err *err) {
    const char *argv[] = {"SENTINEL", "get-master-addr-by-name", redis->url.master};
    struct redis_conn *conn;
    redisReply *reply = NULL;
    if (!redis_conn_open(&redis->sentinel, sentinel, &conn, err))
        return false;
    bool ok = redis_conn_run(conn, 3, argv, &reply, err);
    if (ok && (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
               reply->element[0]->type != REDIS_REPLY_STRING || reply->element[1]->type != REDIS_REPLY_STRING))
        ok = redis_address_error(sentinel, err, "the Sentinel knows no master of the name in redis.url");
    if (ok) {
        *ret_master = (struct redis_address){.port = (int)strtol(reply->element[1]->str, NULL, 10)};
        strncat(ret_master->host, reply->element[0]->str, sizeof ret_master->host - 1);
    }
    freeReplyObject(reply);
    redis_conn_close(conn);
    return ok;
}

static bool try_address(struct redis *redis, const struct redis_address *address, struct err *err) {
    struct redis_address master;
    if (redis->url.kind == REDIS_KIND_SENTINEL)
        return ask_sentinel(redis, address, &master, err) &&
               open_master(redis, &master, "a Sentinel names this server as the master, but it is a replica", err);
    if (redis->url.n_addresses > 1)
        return open_master(redis, address, "it is a replica, which takes no writes", err);
    bool is_node = false;
    if (!redis_conn_open(&redis->server, address, &redis->conn, err))
        return false;
    if (redis->url.kind == REDIS_KIND_SERVER && !ask_kind(redis->conn, &is_node, err)) {
        redis_conn_close(redis->conn);
        redis->conn = NULL;
        return false;
    }
    if (is_node)
        become_cluster(redis);
    return true;
}

/* Tries the addresses in turn, from the one that served last. After two time-outs it leaves the rest to the next
 * call. */
static bool find_server(struct redis *redis, struct err *err) {
    int64_t until_us = clock_mono_us() + 2 * redis->server.timeout_us;
    size_t n = redis->url.n_addresses;
    for (size_t i = 0; i < n; i++) {
        if (try_address(redis, &redis->url.addresses[redis->first_address], err))
            return true;
        redis->first_address = (redis->first_address + 1) % n;
        if (clock_mono_us() > until_us)
            return false;
    }
    return false;
}

bool redis_connect(struct redis *redis, struct err *err) {
    if (redis->cluster)
        return true;
    if (redis->renew_at_us && clock_mono_us() >= redis->renew_at_us) {
        redis_conn_close(redis->conn);
        redis->conn = NULL;
        redis->renew_at_us = 0;
    }
    if (redis->conn)
        return true;
    if (clock_mono_us() < redis->retry_at_us)
        return redis_address_error(&redis->url.addresses[redis->first_address], err, "not reachable a moment ago");
    if (find_server(redis, err))
        return true;
    drop(redis);
    return false;
}

/* --- commands --- */

static bool exchange(struct redis_conn *conn, struct redis_command *commands, size_t n, struct err *err) {
    for (size_t i = 0; i < n; i++)
        redis_conn_append(conn, commands[i].argc, commands[i].argv);
    if (!redis_conn_flush(conn, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!redis_conn_read(conn, &commands[i].reply, err))
            return false;
    return true;
}

/* Decides what an error of the server means for the connection. */
static bool take_error(struct redis *redis, const redisReply *reply, struct err *err) {
    redis_address_error(redis_conn_address(redis->conn), err, reply->str);
    if (redis_error_is(reply, "MOVED") || redis_error_is(reply, "ASK") || redis_error_is(reply, "CROSSSLOT") ||
        strstr(reply->str, "same slot")) {
        become_cluster(redis);
    } else if (strstr(reply->str, "READONLY ") && redis->url.kind != REDIS_KIND_SENTINEL &&
               redis->url.n_addresses == 1) {
        /* The flags can still be read. The address may lead to another server soon. */
        if (!redis->renew_at_us)
            redis->renew_at_us = clock_mono_us() + RETRY_US;
    } else if (!redis_error_keeps_connection(reply->str)) {
        drop(redis);
    }
    return false;
}

static bool run_on_server(struct redis *redis, struct redis_command *commands, size_t n, struct err *err) {
    for (int attempt = 0;; attempt++) {
        if (!redis_connect(redis, err))
            return false;
        if (redis->cluster) /* the commands are those for one server */
            return redis_address_error(&redis->url.addresses[redis->first_address], err, "it is a node of a cluster");
        if (exchange(redis->conn, commands, n, err))
            break;
        bool repeat = attempt == 0 && redis_conn_was_cut(redis->conn);
        drop(redis);
        if (!repeat)
            return false;
        redis->retry_at_us = 0;
        redis_clear(commands, n);
    }
    for (size_t i = 0; i < n; i++)
        if (commands[i].reply->type == REDIS_REPLY_ERROR)
            return take_error(redis, commands[i].reply, err);
    return true;
}

bool redis_run(struct redis *redis, struct redis_command *commands, size_t n, struct err *err) {
    for (size_t i = 0; i < n; i++)
        commands[i].reply = NULL;
    if (!redis->cluster)
        return run_on_server(redis, commands, n, err);
    bool ok = redis_cluster_run(redis->cluster, commands, n, err);
    if (!redis_cluster_is_gone(redis->cluster))
        return ok;
    redis_cluster_free(redis->cluster);
    redis->cluster = NULL;
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis Cluster; see redis_cluster.h.
 *
 *   map    which node owns each slot, from CLUSTER SLOTS. It is read again, at most every REDIS_RETRY_MS, when a node
 *   has
 *          failed or has answered MOVED. A MOVED answer itself corrects one slot, so a user who may not run CLUSTER
 *          SLOTS is served too.
 *   round  all commands that are pending are sent, a pipeline for each node, and their answers are read. A redirected
 *          command stays pending for the next round, and so does a command whose node has failed for the first time. */
#include "store/redis_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "store/redis_slots.h"

#define RETRY_US   (REDIS_RETRY_MS * (int64_t)US_PER_MS)
#define ROUNDS_MAX 8
/* The pause before a command is repeated whose keys are just being moved to another node. */
#define TRY_AGAIN_US (5 * US_PER_MS)

struct redis_node {
    struct redis_node *next;
    struct redis_address address;
    struct redis_conn *conn; /* NULL: not connected */
    int64_t retry_at_us;     /* no attempt to connect before */
    bool is_listed;          /* in the map that is being read */
    bool is_bad;             /* to be closed after this round */
    bool has_unsent;
};

struct redis_cluster {
    const struct redis_conn_options *options;
    const struct redis_url *url;
    struct redis_node *nodes;
    struct redis_node *owners[REDIS_SLOTS]; /* NULL: unknown */
    bool wants_map, is_gone;
    int64_t map_at_us; /* no attempt to read the map before */
};

bool redis_error_is(const redisReply *reply, const char *word) {
    size_t len = strlen(word);
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, word, len) == 0 && reply->str[len] == ' ';
}

bool redis_error_keeps_connection(const char *text) {
    static const char *const words[] = {"OOM ", "MISCONF ", "NOREPLICAS ", "NOPERM ", "BUSY ", "WRONGTYPE "};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strncmp(text, words[i], strlen(words[i])) == 0)
            return true;
    /* A script may report the reason of its command behind words of its own. */
    return strstr(text, "OOM command not allowed") || strstr(text, "-MISCONF") || strstr(text, "-NOREPLICAS");
}

/* --- nodes --- */

static struct redis_node *node_of(struct redis_cluster *cluster, const char *host, int port) {
    for (struct redis_node *node = cluster->nodes; node; node = node->next)
        if (node->address.port == port && strcmp(node->address.host, host) == 0)
            return node;
    struct redis_node *node = memory_new(1, sizeof *node);
    snprintf(node->address.host, sizeof node->address.host, "%s", host);
    node->address.port = port;
    node->next = cluster->nodes;
    cluster->nodes = node;
    return node;
}

static void node_fail(struct redis_cluster *cluster, struct redis_node *node, bool was_cut) {
    redis_conn_close(node->conn);
    node->conn = NULL;
    node->is_bad = node->has_unsent = false;
    if (was_cut)
        return;
    node->retry_at_us = clock_mono_us() + RETRY_US;
    cluster->wants_map = true;
}

static bool node_connect(struct redis_cluster *cluster, struct redis_node *node, struct err *err) {
    if (node->conn)
        return true;
    if (clock_mono_us() < node->retry_at_us)
        return redis_address_error(&node->address, err, "not reachable a moment ago");
    if (redis_conn_open(cluster->options, &node->address, &node->conn, err))
        return true;
    node_fail(cluster, node, false);
    return false;
}

static void drop_unlisted(struct redis_cluster *cluster) {
    for (struct redis_node **at = &cluster->nodes; *at;) {
        struct redis_node *node = *at;
        if (node->is_listed) {
            at = &node->next;
            continue;
        }
        *at = node->next;
        redis_conn_close(node->conn);
        free(node);
    }
}

struct redis_cluster *redis_cluster_new(const struct redis_conn_options *options, const struct redis_url *url,
                                        struct redis_conn *first) {
    struct redis_cluster *cluster = memory_new(1, sizeof *cluster);
    cluster->options = options;
    cluster->url = url;
    cluster->wants_map = true;
    const struct redis_address *address = redis_conn_address(first);
    node_of(cluster, address->host, address->port)->conn = first;
    return cluster;
}

void redis_cluster_free(struct redis_cluster *cluster) {
    if (!cluster)
        return;
    for (struct redis_node *node = cluster->nodes; node; node = node->next)
        node->is_listed = false;
    drop_unlisted(cluster);
    free(cluster);
}

bool redis_cluster_is_gone(const struct redis_cluster *cluster) {
    return cluster->is_gone;
}

/* --- the map --- */

/* True if this is an element of CLUSTER SLOTS: first slot, last slot, [host, port, …] of the master, the replicas. */
static bool is_range(const redisReply *range) {
    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3 || range->element[0]->type != REDIS_REPLY_INTEGER ||
        range->element[1]->type != REDIS_REPLY_INTEGER)
        return false;
    const redisReply *master = range->element[2];
    return range->element[0]->integer >= 0 && range->element[1]->integer < REDIS_SLOTS &&
           master->type == REDIS_REPLY_ARRAY && master->elements >= 2 &&
           master->element[1]->type == REDIS_REPLY_INTEGER;
}

static void read_range(struct redis_cluster *cluster, const redisReply *range, const struct redis_address *asked) {
    const redisReply *master = range->element[2];
    /* A node that does not know its own address gives none, and it is the one that was asked. */
    const char *host = master->element[0]->type == REDIS_REPLY_STRING ? master->element[0]->str : "";
    struct redis_node *node =
        node_of(cluster, *host && strcmp(host, "?") != 0 ? host : asked->host, (int)master->element[1]->integer);
    node->is_listed = true;
    for (long long slot = range->element[0]->integer; slot <= range->element[1]->integer; slot++)
        cluster->owners[slot] = node;
}

/* Returns false if the reply has no owner of a slot, as that of a node that has just joined. The old map then stays. */
static bool read_map(struct redis_cluster *cluster, struct redis_node *asked, const redisReply *reply) {
    struct redis_address address = asked->address;
    bool has_owners = false;
    if (reply->type != REDIS_REPLY_ARRAY)
        return false;
    for (size_t i = 0; i < reply->elements; i++)
        has_owners |= is_range(reply->element[i]);
    if (!has_owners)
        return false;
    for (struct redis_node *node = cluster->nodes; node; node = node->next)
        node->is_listed = false;
    memset(cluster->owners, 0, sizeof cluster->owners);
    for (size_t i = 0; i < reply->elements; i++)
        if (is_range(reply->element[i]))
            read_range(cluster, reply->element[i], &address);
    drop_unlisted(cluster);
    return true;
}

/* Gives all slots without an owner to the node, which redirects commands for slots that are not its own. */
static void own_the_rest(struct redis_cluster *cluster, struct redis_node *node) {
    for (size_t slot = 0; slot < REDIS_SLOTS; slot++)
        if (!cluster->owners[slot])
            cluster->owners[slot] = node;
}

static bool ask_for_map(struct redis_cluster *cluster, struct redis_node *node, struct err *err) {
    const char *argv[] = {"CLUSTER", "SLOTS"};
    redisReply *reply;
    if (!node_connect(cluster, node, err))
        return false;
    redis_conn_append(node->conn, 2, argv);
    if (!redis_conn_flush(node->conn, err) || !redis_conn_read(node->conn, &reply, err)) {
        node_fail(cluster, node, false);
        return false;
    }
    bool ok = true;
    if (reply->type != REDIS_REPLY_ERROR) {
        ok = read_map(cluster, node, reply) ||
             err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "no node of the cluster has slots");
    } else if (strstr(reply->str, "cluster support disabled")) {
        cluster->is_gone = true;
        ok = redis_address_error(&node->address, err, "the server is no cluster any more");
    } else if (redis_error_is(reply, "LOADING") || redis_error_is(reply, "NOAUTH")) {
        ok = redis_address_error(&node->address, err, reply->str);
        node_fail(cluster, node, false);
    } else {
        own_the_rest(cluster, node); /* a proxy, or a user who may not ask */
    }
    freeReplyObject(reply);
    return ok;
}

/* Asks the nodes that are connected first, then the others, then the addresses of the URL, for as long as two
 * time-outs. */
bool redis_cluster_load_map(struct redis_cluster *cluster, struct err *err) {
    int64_t until_us = clock_mono_us() + 2 * cluster->options->timeout_us;
    cluster->map_at_us = clock_mono_us() + RETRY_US;
    cluster->wants_map = false; /* a failure sets it again */
    for (size_t i = 0; i < cluster->url->n_addresses; i++)
        node_of(cluster, cluster->url->addresses[i].host, cluster->url->addresses[i].port);
    for (int connected = 1; connected >= 0; connected--)
        for (struct redis_node *node = cluster->nodes; node; node = node->next) {
            if ((node->conn != NULL) != connected || clock_mono_us() > until_us)
                continue;
            if (ask_for_map(cluster, node, err)) {
                cluster->wants_map = false;
                return true;
            }
            if (cluster->is_gone)
                return false;
        }
    cluster->wants_map = true;
    return false;
}

/* --- a round --- */

struct round {
    struct redis_command *commands;
    size_t n;
    bool needs_pause, has_failed;
    struct err problem; /* the first one */
};

static void fail(struct round *round, struct redis_command *command, const struct err *problem) {
    command->state = REDIS_DONE;
    if (!round->has_failed)
        round->problem = *problem;
    round->has_failed = true;
}

/* A command whose node has failed gets one more chance: at the same node on a new connection, or at another one by a
 * new map. */
static void fail_or_repeat(struct round *round, struct redis_command *command, const struct err *problem) {
    command->ask_at = NULL;
    command->state = REDIS_PENDING;
    if (command->failures++ > 0)
        fail(round, command, problem);
}

static void send_command(struct redis_cluster *cluster, struct round *round, struct redis_command *command) {
    const char *asking[] = {"ASKING"};
    struct redis_node *node = command->ask_at ? command->ask_at : cluster->owners[command->slot];
    struct err err;
    if (!node) {
        err_set(&err, ERR_UNAVAILABLE, BACKEND_REDIS, "no node of the cluster serves slot %u", command->slot);
        cluster->wants_map = true;
        fail_or_repeat(round, command, &err);
        return;
    }
    if (!node_connect(cluster, node, &err)) {
        fail_or_repeat(round, command, &err);
        return;
    }
    if (command->ask_at)
        redis_conn_append(node->conn, 1, asking);
    redis_conn_append(node->conn, command->argc, command->argv);
    command->at = node;
    command->state = REDIS_SENT;
    node->has_unsent = true;
}

/* "MOVED SLOT HOST:PORT" or "ASK SLOT HOST:PORT". Without a host, it is the host that answers. Returns NULL if the text
 * is something else. */
static struct redis_node *target_of(struct redis_cluster *cluster, const struct redis_node *from, const char *text) {
    char host[REDIS_HOST_SIZE];
    const char *address = strrchr(text, ' '), *colon = strrchr(text, ':');
    if (!address || !colon || colon < address || (size_t)(colon - address) > sizeof host)
        return NULL;
    snprintf(host, sizeof host, "%.*s", (int)(colon - address - 1), address + 1);
    return node_of(cluster, *host && strcmp(host, "?") != 0 ? host : from->address.host,
                   (int)strtol(colon + 1, NULL, 10));
}

static void take_error(struct redis_cluster *cluster, struct round *round, struct redis_command *command) {
    struct redis_node *from = command->at, *target;
    const char *text = command->reply->str;
    bool is_moved = redis_error_is(command->reply, "MOVED");
    command->ask_at = NULL;
    if ((is_moved || redis_error_is(command->reply, "ASK")) && (target = target_of(cluster, from, text))) {
        command->state = REDIS_PENDING;
        if (is_moved) {
            cluster->owners[command->slot] = target;
            cluster->wants_map = true;
        } else {
            command->ask_at = target;
        }
    } else if (redis_error_is(command->reply, "TRYAGAIN")) {
        command->state = REDIS_PENDING;
        round->needs_pause = true;
    } else {
        struct err err;
        redis_address_error(&from->address, &err, text);
        if (redis_error_is(command->reply, "CLUSTERDOWN"))
            cluster->wants_map = true;
        else if (!redis_error_keeps_connection(text))
            from->is_bad = true;
        fail(round, command, &err);
        return;
    }
    freeReplyObject(command->reply);
    command->reply = NULL;
}

static void read_answer(struct redis_cluster *cluster, struct round *round, struct redis_command *command,
                        struct err *problem) {
    struct redis_node *node = command->at;
    redisReply *asked = NULL;
    bool ok = node->conn != NULL;
    if (ok && command->ask_at)
        ok = redis_conn_read(node->conn, &asked, problem);
    freeReplyObject(asked);
    if (ok)
        ok = redis_conn_read(node->conn, &command->reply, problem);
    if (!ok) {
        if (node->conn)
            node_fail(cluster, node, redis_conn_was_cut(node->conn));
        fail_or_repeat(round, command, problem);
    } else if (command->reply->type == REDIS_REPLY_ERROR) {
        take_error(cluster, round, command);
    } else {
        command->state = REDIS_DONE;
    }
}

static void run_round(struct redis_cluster *cluster, struct round *round) {
    struct err problem = {0};
    for (size_t i = 0; i < round->n; i++)
        if (round->commands[i].state == REDIS_PENDING)
            send_command(cluster, round, &round->commands[i]);
    for (struct redis_node *node = cluster->nodes; node; node = node->next) {
        if (node->has_unsent && !redis_conn_flush(node->conn, &problem))
            node_fail(cluster, node, redis_conn_was_cut(node->conn));
        node->has_unsent = false;
    }
    for (size_t i = 0; i < round->n; i++)
        if (round->commands[i].state == REDIS_SENT)
            read_answer(cluster, round, &round->commands[i], &problem);
    for (struct redis_node *node = cluster->nodes; node; node = node->next)
        if (node->is_bad)
            node_fail(cluster, node, false);
}

static bool is_pending(const struct round *round) {
    for (size_t i = 0; i < round->n; i++)
        if (round->commands[i].state == REDIS_PENDING)
            return true;
    return false;
}

static void renew_map(struct redis_cluster *cluster, struct round *round) {
    struct err err;
    if (!cluster->wants_map || clock_mono_us() < cluster->map_at_us)
        return;
    for (size_t i = 0; i < round->n; i++)
        round->commands[i].ask_at = NULL;        /* its node may go */
    (void)redis_cluster_load_map(cluster, &err); /* without a new one, the old map is used */
}

bool redis_cluster_run(struct redis_cluster *cluster, struct redis_command *commands, size_t n, struct err *err) {
    struct round round = {.commands = commands, .n = n};
    for (size_t i = 0; i < n; i++) {
        commands[i].state = REDIS_PENDING;
        commands[i].failures = 0;
        commands[i].ask_at = commands[i].at = NULL;
    }
    for (int i = 0; i < ROUNDS_MAX && is_pending(&round); i++) {
        if (round.needs_pause)
            clock_sleep_us(TRY_AGAIN_US);
        round.needs_pause = false;
        renew_map(cluster, &round);
        if (cluster->is_gone)
            return err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "the servers are no cluster any more");
        run_round(cluster, &round);
    }
    if (is_pending(&round) && !round.has_failed)
        return err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS,
                       "the cluster is moving these keys, or redirects without an end");
    if (round.has_failed && err)
        *err = round.problem;
    return !round.has_failed;
}

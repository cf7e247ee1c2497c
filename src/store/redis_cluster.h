/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis Cluster: the map of its slots, a connection to each node that is needed, and redirections. One thread. */
#pragma once

#include "store/redis.h"
#include "store/redis_conn.h"

struct redis_cluster;

/* `options` and `url` must outlive the cluster. Takes over `first`, a connection to one of its nodes. */
struct redis_cluster *redis_cluster_new(const struct redis_conn_options *options, const struct redis_url *url,
                                        struct redis_conn *first);
/* NULL is fine. */
void redis_cluster_free(struct redis_cluster *cluster);
/* Asks a node for the map. If it fails, redis_cluster_run tries again. */
bool redis_cluster_load_map(struct redis_cluster *cluster, struct err *err);
/* As redis_run. */
bool redis_cluster_run(struct redis_cluster *cluster, struct redis_command *commands, size_t n, struct err *err);
/* True if the servers have answered that they are no cluster, since others have taken their place. */
bool redis_cluster_is_gone(const struct redis_cluster *cluster);

/* True if an error of a server is about a command alone: the server refuses writes (memory, disk, too few replicas), is
 * busy, or denies the command. Another connection would get the same answer. Any other error ends the connection. */
bool redis_error_keeps_connection(const char *text);
/* True if the error begins with the word. */
bool redis_error_is(const redisReply *reply, const char *word);

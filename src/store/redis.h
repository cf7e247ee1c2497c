/* SPDX-License-Identifier: Apache-2.0 */
/* Redis as it is installed: one server, a master that Sentinels name, or a cluster. The caller gives commands with the
 * slots of their keys, and this file finds the servers.
 *
 *   one server   all commands in one pipeline. Of several addresses, the first one that is a master.
 *   Sentinel     the same, on the master that a Sentinel names, after the ROLE command has confirmed it
 *   cluster      a pipeline for each node, by the slots of the keys; redirections are followed
 *
 * A cluster is recognized when the connection opens, by INFO; where the user may not run that, by a cluster's errors
 * (MOVED, CROSSSLOT). redis_is_cluster then changes, and the caller builds its commands again, since a command must not
 * have keys of different slots in a cluster. An object that has never connected knows only the nodes of its URL, which
 * may be down by then; hence connects_at_once.
 *
 * All commands must be safe to repeat: if a connection was cut while it was idle, redis_run repeats them once on a new
 * one. After any other failure the connection is dropped, and calls fail at once for REDIS_RETRY_MS. One thread. */
#pragma once

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "store/redis_login.h"
#include "store/redis_tls.h"

#define REDIS_RETRY_MS 500

/* The strings must outlive the object; NULL is the same as "". */
struct redis_options {
    const char *url;                               /* config/redis_url.h has the forms */
    int64_t timeout_ms;                            /* of connecting, and of one answer */
    struct redis_tls tls;                          /* for rediss:// and rediss+sentinel:// */
    struct redis_login_files login;                /* the files of the URL's credentials */
    const char *sentinel_user, *sentinel_password; /* for the Sentinels themselves */
    struct redis_login_files sentinel_login;
    bool connects_at_once; /* redis_new connects, and a failure to connect is not its error */
};

struct redis;
struct redis_node;

/* Checks URL and files. Fails with ERR_INVALID. */
bool redis_new(const struct redis_options *options, struct redis **ret_redis, struct err *err);
/* NULL is fine. */
void redis_free(struct redis *redis);
/* Connects unless connected. redis_run connects by itself. */
bool redis_connect(struct redis *redis, struct err *err);
/* True if commands are sent by slots. */
bool redis_is_cluster(const struct redis *redis);

struct redis_command {
    unsigned slot; /* of its keys (store/redis_slots.h); one server ignores it */
    int argc;
    const char **argv;
    redisReply *reply; /* set by redis_run; NULL: none */
    /* redis_cluster.c's own */
    enum { REDIS_PENDING, REDIS_SENT, REDIS_DONE } state;
    int failures;
    struct redis_node *at, *ask_at;
};
/* Runs the commands. Fails with ERR_UNAVAILABLE if one of them has no reply, or an error as its reply; the others may
 * still have replies. The caller frees the replies in either case, by redis_clear. */
bool redis_run(struct redis *redis, struct redis_command *commands, size_t n, struct err *err);
/* Frees the replies. */
void redis_clear(struct redis_command *commands, size_t n);

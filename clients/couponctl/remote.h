/* SPDX-License-Identifier: Apache-2.0 */
/* The servers: where they are, and calls that are waited for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coupons.h"

struct args;
struct ctl;

struct servers {
    char **targets;
    size_t n;
    struct rpc_channel_options options; /* how to connect to them */
    struct rpc_tls tls;
    char *token;
};

/* From --server (repeated, or with commas), COUPONCTL_SERVER, or the default; and how to connect
 * to them. Says what is wrong where it returns false. */
bool servers_init(struct servers *servers, const struct args *args);
void servers_deinit(struct servers *servers);

/* A connection to one server. */
struct remote {
    const char *target;
    struct coupons_client *client;
};

/* Does not connect yet. Says what is wrong where it returns false. */
bool remote_init(struct remote *remote, const struct ctl *ctl, const char *target);
void remote_deinit(struct remote *remote);

/* For verbs of one call to the first server: prints a failure and then returns NULL, with *ret_exit_code set. */
void *ctl_call(struct ctl *ctl, struct remote *remote, const ProtobufCMessage *request, const char *request_id,
               int *ret_exit_code);
/* For verbs whose first operand says what to do with the first server; the first action where there is none. `names`:
 * all of them, for who gives another. Returns the exit code. */
struct ctl_action {
    const char *name;
    int (*run)(struct ctl *ctl, struct remote *remote);
};
int ctl_run_action(struct ctl *ctl, const struct ctl_action *actions, size_t n, const char *names);
/* Prints a failure of the server's, deinits it, and returns the exit code that it stands for. */
int ctl_fail(struct ctl *ctl, struct remote *remote, struct coupons_failure *failure, const char *request_id);

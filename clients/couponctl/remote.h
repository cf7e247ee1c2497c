/* SPDX-License-Identifier: Apache-2.0 */
/* The servers: addresses, credentials, connections, and blocking calls. */
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
    struct rpc_channel_options options; /* points to tls and token */
    struct rpc_tls tls;
    char *token;
};

/* Reads the addresses from --server (repeated, or separated by commas), COUPONCTL_SERVER, or the default, and reads the
 * credentials. On false, the error was printed. `args` must outlive `servers`. */
bool servers_init(struct servers *servers, const struct args *args);
void servers_deinit(struct servers *servers);

/* A connection to one server. */
struct remote {
    const char *target;
    struct coupons_client *client;
};

/* Prepares a connection; the first call connects. On false, the error was printed. */
bool remote_init(struct remote *remote, const struct ctl *ctl, const char *target);
void remote_deinit(struct remote *remote);

/* Makes one call and returns the response, which the caller frees with coupons_free. On a failure, prints it, sets
 * *ret_exit_code and returns NULL. `request_id` may be NULL. */
void *ctl_call(struct ctl *ctl, struct remote *remote, const ProtobufCMessage *request, const char *request_id,
               int *ret_exit_code);
/* An action of a verb whose first operand names the action, such as "topics list". */
struct ctl_action {
    const char *name;
    int (*run)(struct ctl *ctl, struct remote *remote);
};
/* Runs the action that the first operand names (the first action if there is no operand) on the first server, and
 * returns the exit code. `names` lists the actions for the error text. */
int ctl_run_action(struct ctl *ctl, const struct ctl_action *actions, size_t n, const char *names);
/* Prints a failed call, frees *failure, and returns the exit code. */
int ctl_fail(struct ctl *ctl, struct remote *remote, struct coupons_failure *failure, const char *request_id);

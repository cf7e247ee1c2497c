/* SPDX-License-Identifier: Apache-2.0 */
/* Servers, connections and blocking calls; see remote.h. */
#include "remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#include "args.h"
#include "ctl.h"
#include "status.h"

#define SERVER_DEFAULT "127.0.0.1:50051"

static void servers_add(struct servers *servers, const char *list) {
    while (*list) {
        size_t len = strcspn(list, ",");
        if (len > 0) {
            char **grown = memory_resize(servers->targets, servers->n + 1, sizeof *grown);
            grown[servers->n] = memory_must(strndup(list, len));
            servers->targets = grown;
            servers->n++;
        }
        list += len + (list[len] == ',');
    }
}

/* Reads the first line of the file. */
static bool read_token(struct servers *servers, const struct args *args, const char *path) {
    FILE *file = fopen(path, "re");
    size_t capacity = 0;
    bool ok = file && getline(&servers->token, &capacity, file) > 0;
    if (file)
        fclose(file);
    if (!ok) {
        args_refuse(args, "--token-file: cannot read %s, or it is empty", path);
        return false;
    }
    servers->token[strcspn(servers->token, "\r\n")] = '\0';
    return true;
}

static bool read_credentials(struct servers *servers, const struct args *args) {
    servers->tls = (struct rpc_tls){
        .certificate = args_text(args, "cert"), .key = args_text(args, "key"), .ca = args_text(args, "ca")};
    const struct rpc_tls *tls = &servers->tls;
    if (args_flag(args, "tls") || tls->ca || tls->certificate || tls->key)
        servers->options.tls = tls;
    servers->options.server_name = args_text(args, "server-name");
    const char *path = args_text(args, "token-file"), *token = getenv("COUPONCTL_TOKEN");
    if (path && !read_token(servers, args, path))
        return false;
    if (!path && token)
        servers->token = memory_copy(token);
    servers->options.token = servers->token;
    servers->options.plaintext_token = args_flag(args, "plaintext-token");
    return true;
}

bool servers_init(struct servers *servers, const struct args *args) {
    *servers = (struct servers){0};
    const char *list;
    for (size_t i = 0; (list = args_text_at(args, "server", i)); i++)
        servers_add(servers, list);
    if (servers->n == 0 && args_flag(args, "server")) {
        args_refuse(args, "--server is empty: give HOST:PORT");
        return false;
    }
    const char *environment = getenv("COUPONCTL_SERVER");
    if (servers->n == 0 && environment)
        servers_add(servers, environment);
    if (servers->n == 0)
        servers_add(servers, SERVER_DEFAULT);
    return read_credentials(servers, args);
}

void servers_deinit(struct servers *servers) {
    for (size_t i = 0; i < servers->n; i++)
        free(servers->targets[i]);
    free(servers->targets);
    free(servers->token);
    *servers = (struct servers){0};
}

bool remote_init(struct remote *remote, const struct ctl *ctl, const char *target) {
    struct err err;
    *remote = (struct remote){.target = target};
    if (!coupons_client_open(target, &ctl->servers.options, &remote->client, &err)) {
        failure_print_text(ctl->json, "CREDENTIALS", err.text);
        return false;
    }
    return true;
}

void remote_deinit(struct remote *remote) {
    coupons_client_free(remote->client);
    *remote = (struct remote){0};
}

void *ctl_call(struct ctl *ctl, struct remote *remote, const ProtobufCMessage *request, const char *request_id,
               int *ret_exit_code) {
    struct coupons_failure failure;
    void *response = coupons_call_once(remote->client, request, ctl->timeout_ms, &failure);
    if (!response)
        *ret_exit_code = ctl_fail(ctl, remote, &failure, request_id);
    return response;
}

int ctl_run_action(struct ctl *ctl, const struct ctl_action *actions, size_t n, const char *names) {
    const char *name = ctl->args->n_operands ? ctl->args->operands[0] : actions[0].name;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(actions[i].name, name) != 0)
            continue;
        struct remote remote;
        if (!remote_init(&remote, ctl, ctl->servers.targets[0]))
            return EXIT_UNREACHABLE;
        int exit_code = actions[i].run(ctl, &remote);
        remote_deinit(&remote);
        return exit_code;
    }
    return args_refuse(ctl->args, "%s has no action \"%s\": its actions are %s", ctl->args->verb->name, name, names);
}

int ctl_fail(struct ctl *ctl, struct remote *remote, struct coupons_failure *failure, const char *request_id) {
    failure_print(failure, ctl->json, remote->target, request_id);
    int exit_code = failure_exit_code(failure);
    coupons_failure_deinit(failure);
    return exit_code;
}

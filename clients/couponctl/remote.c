/* Connections and blocking calls; see remote.h. */
#include "remote.h"

#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "ctl.h"
#include "status.h"

#define SERVER_DEFAULT "127.0.0.1:50051"

static void servers_add(struct servers *servers, const char *list) {
    while (*list) {
        size_t len = strcspn(list, ",");
        if (len > 0) {
            char **grown = realloc(servers->targets, (servers->n + 1) * sizeof *grown);
            if (!grown || !(grown[servers->n] = strndup(list, len)))
                abort();
            servers->targets = grown;
            servers->n++;
        }
        list += len + (list[len] == ',');
    }
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
    return true;
}

void servers_deinit(struct servers *servers) {
    for (size_t i = 0; i < servers->n; i++)
        free(servers->targets[i]);
    free(servers->targets);
    *servers = (struct servers){0};
}

bool remote_init(struct remote *remote, const char *target, bool json) {
    struct err err;
    *remote = (struct remote){.target = target};
    if (!coupons_client_new(target, &remote->client, &err)) {
        failure_print_text(json, "INTERNAL", err.text);
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

int ctl_fail(struct ctl *ctl, struct remote *remote, struct coupons_failure *failure, const char *request_id) {
    failure_print(failure, ctl->json, remote->target, request_id);
    int exit_code = failure_exit_code(failure);
    coupons_failure_deinit(failure);
    return exit_code;
}

/* Connections and blocking calls; see remote.h. */
#include "remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "args.h"
#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "coupon/v1/topic_admin_service.pb-c.h"
#include "coupon_methods.h"
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
    if (!rpc_channel_new(target, NULL, &remote->channel, &err)) {
        failure_print_text(json, "INTERNAL", err.text);
        return false;
    }
    remote->coupons = rpc_channel_service(remote->channel, &coupon__v1__coupon_service__descriptor,
                                          coupon_service_methods, COUPON_SERVICE_METHODS);
    remote->admin = rpc_channel_service(remote->channel, &coupon__v1__coupon_admin_service__descriptor,
                                        coupon_admin_service_methods, COUPON_ADMIN_SERVICE_METHODS);
    remote->topics = rpc_channel_service(remote->channel, &coupon__v1__topic_admin_service__descriptor,
                                         topic_admin_service_methods, TOPIC_ADMIN_SERVICE_METHODS);
    return true;
}

void remote_deinit(struct remote *remote) {
    rpc_channel_free(remote->channel);
    *remote = (struct remote){0};
}

unsigned method_index(const ProtobufCService *service, const char *method) {
    for (unsigned i = 0; i < service->descriptor->n_methods; i++)
        if (strcmp(service->descriptor->methods[i].name, method) == 0)
            return i;
    abort();
}

/* The message lives until the callback returns: take a copy the way the wire does. */
static void keep_copy(const ProtobufCMessage *message, void *arg) {
    ProtobufCMessage **ret = arg;
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(size + 1);
    if (!bytes)
        abort();
    protobuf_c_message_pack(message, bytes);
    *ret = protobuf_c_message_unpack(message->descriptor, NULL, size, bytes);
    free(bytes);
    if (!*ret)
        abort();
}

ProtobufCMessage *remote_call(ProtobufCService *service, const char *method, const ProtobufCMessage *input,
                              int64_t timeout_ms, struct rpc_status *ret_status) {
    ProtobufCMessage *response = NULL;
    if (rpc_client_call_wait(service, method_index(service, method), input, timeout_ms, keep_copy, &response,
                             ret_status))
        return response;
    if (response)
        protobuf_c_message_free_unpacked(response, NULL);
    return NULL;
}

ProtobufCMessage *ctl_call(struct ctl *ctl, struct remote *remote, ProtobufCService *service, const char *method,
                           const ProtobufCMessage *input, const char *request_id, int *ret_exit_code) {
    struct rpc_status status;
    ProtobufCMessage *response = remote_call(service, method, input, ctl->timeout_ms, &status);
    if (response)
        return response;
    struct failure failure;
    failure_init(&failure, &status);
    failure_print(&failure, ctl->json, remote->target, request_id);
    *ret_exit_code = failure_exit_code(&failure);
    failure_deinit(&failure);
    rpc_status_deinit(&status);
    return NULL;
}

void random_uuid(char ret_text[static REQUEST_ID_SIZE]) {
    unsigned char b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        abort(); /* 16 bytes always come whole */
    b[6] = (unsigned char)((b[6] & 0x0F) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
    snprintf(ret_text, REQUEST_ID_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

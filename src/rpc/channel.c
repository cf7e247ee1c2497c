/* SPDX-License-Identifier: Apache-2.0 */
/* Channels: connecting, pollers, and the services for stubs. client.c has the calls. */
#include <grpc/compression.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/strbuf.h"
#include "rpc/core.h"
#include "rpc/method.h"
#include "rpc/operation.h"
#include "rpc/tls.h"

#define MESSAGE_BYTES_MAX (4 << 20) /* the default, and the core's */

static void add_arg(grpc_channel_args *args, const char *key, int value) {
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)key};
    arg.value.integer = value;
    args->args[args->num_args++] = arg;
}

static grpc_channel *create_core(const char *target, const struct rpc_channel_options *options,
                                 size_t max_message_bytes, struct err *err) {
    grpc_arg room[16];
    grpc_channel_args args = {.args = room};
    add_arg(&args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, max_message_bytes < INT_MAX ? (int)max_message_bytes : INT_MAX);
    if (options->server_name) {
        grpc_arg name = {.type = GRPC_ARG_STRING, .key = GRPC_SSL_TARGET_NAME_OVERRIDE_ARG};
        name.value.string = (char *)(uintptr_t)options->server_name;
        room[args.num_args++] = name;
    }
    add_arg(&args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1); /* a connection per channel */
    add_arg(&args, GRPC_ARG_ENABLE_RETRIES, 0);            /* only the caller knows whether that is safe */
    add_arg(&args, GRPC_ARG_ENABLE_CHANNELZ, 0);
    /* As on the server, message.c decompresses within the limits. */
    add_arg(&args, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, COMPRESSIONS);
    add_arg(&args, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    /* A channel finds a restarted server within a second; the core's own backoff grows to two minutes. */
    add_arg(&args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    add_arg(&args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    /* A proxy named in the environment is not used. */
    add_arg(&args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    grpc_channel_credentials *credentials =
        options->tls ? tls_client_credentials(options->tls, err) : grpc_insecure_credentials_create();
    if (!credentials)
        return NULL;
    grpc_channel *core = grpc_channel_create(target, credentials, &args);
    grpc_channel_credentials_release(credentials);
    return core;
}

static bool start_pollers(struct rpc_channel *channel, unsigned n, struct err *err) {
    channel->pollers = memory_new(n, sizeof *channel->pollers);
    while (channel->n_pollers < n) {
        struct client_poller *poller = &channel->pollers[channel->n_pollers++];
        pthread_mutex_init(&poller->lock, NULL);
        pthread_cond_init(&poller->empty, NULL);
        poller_init(&poller->base);
        if (!poller_start(&poller->base, err))
            return false;
    }
    return true;
}

bool rpc_channel_new(const char *target, const struct rpc_channel_options *options, struct rpc_channel **ret_channel,
                     struct err *err) {
    static const struct rpc_channel_options none = {0};
    options = options ? options : &none;
    struct rpc_channel *channel = memory_new(1, sizeof *channel);
    pthread_mutex_init(&channel->lock, NULL);
    core_init();
    channel->max_message_bytes = options->max_message_bytes ? options->max_message_bytes : MESSAGE_BYTES_MAX;
    channel->core = create_core(target, options, channel->max_message_bytes, err);
    if (options->token) {
        struct strbuf credential = {0};
        strbuf_printf(&credential, "Bearer %s", options->token);
        channel->credential = credential.data;
    }
    if (!channel->core || !start_pollers(channel, options->pollers > 0 ? (unsigned)options->pollers : 1, err)) {
        rpc_channel_free(channel);
        return false;
    }
    *ret_channel = channel;
    return true;
}

static void cancel_all(struct client_poller *poller) {
    pthread_mutex_lock(&poller->lock);
    for (struct operation *each = poller->in_flight; each; each = each->next)
        if (each->core)
            grpc_call_cancel(each->core, NULL);
    while (poller->in_flight)
        pthread_cond_wait(&poller->empty, &poller->lock);
    pthread_mutex_unlock(&poller->lock);
}

static void client_poller_deinit(struct client_poller *poller) {
    poller_drain(&poller->base);
    poller_deinit(&poller->base);
    while (poller->idle) {
        struct operation *operation = poller->idle;
        poller->idle = operation->next;
        operation_free(operation);
    }
    pthread_cond_destroy(&poller->empty);
    pthread_mutex_destroy(&poller->lock);
}

static void client_service_free(struct client_service *service) {
    for (unsigned i = 0; service->methods && i < service->base.descriptor->n_methods; i++)
        free(service->methods[i].path);
    free(service->methods);
    free(service);
}

void rpc_channel_free(struct rpc_channel *channel) {
    if (!channel)
        return;
    for (unsigned i = 0; i < channel->n_pollers; i++)
        cancel_all(&channel->pollers[i]);
    if (channel->core)
        grpc_channel_destroy(channel->core);
    for (unsigned i = 0; i < channel->n_pollers; i++)
        client_poller_deinit(&channel->pollers[i]);
    free(channel->pollers);
    while (channel->services) {
        struct client_service *service = channel->services;
        channel->services = service->next;
        client_service_free(service);
    }
    core_deinit();
    free(channel->credential);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

static void client_method_init(struct client_method *method, struct rpc_channel *channel, const char *service,
                               const ProtobufCMethodDescriptor *descriptor, const struct rpc_method *rows, size_t n) {
    method->descriptor = descriptor;
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].name, descriptor->name) == 0) {
            method->is_known = true;
            method->takes_one = shape_takes_one(rows[i].shape);
            method->gives_one = shape_gives_one(rows[i].shape);
        }
    struct strbuf path = {0};
    strbuf_printf(&path, "/%s/%s", service, descriptor->name);
    method->path = path.data;
    method->registered = grpc_channel_register_call(channel->core, method->path, NULL, NULL);
}

ProtobufCService *rpc_channel_service(struct rpc_channel *channel, const ProtobufCServiceDescriptor *descriptor,
                                      const struct rpc_method *methods, size_t n_methods) {
    pthread_mutex_lock(&channel->lock);
    struct client_service *service = channel->services;
    while (service && service->base.descriptor != descriptor)
        service = service->next;
    if (!service) {
        service = memory_new(1, sizeof *service);
        struct client_method *room = memory_new(descriptor->n_methods, sizeof *room);
        *service = (struct client_service){.base = {.descriptor = descriptor, .invoke = client_invoke},
                                           .channel = channel,
                                           .next = channel->services,
                                           .methods = room};
        for (unsigned i = 0; i < descriptor->n_methods; i++)
            client_method_init(&room[i], channel, descriptor->name, &descriptor->methods[i], methods, n_methods);
        channel->services = service;
    }
    pthread_mutex_unlock(&channel->lock);
    return &service->base;
}

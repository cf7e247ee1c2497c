/* SPDX-License-Identifier: Apache-2.0 */
/* Channels: connecting, pollers, and the services for stubs. client.c has the calls. */
#include <grpc/compression.h>
#include <grpc/grpc_posix.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/strbuf.h"
#include "rpc/core.h"
#include "rpc/method.h"
#include "rpc/operation.h"
#include "rpc/pick.h"
#include "rpc/target.h"
#include "rpc/tls.h"

#define MESSAGE_BYTES_MAX (4 << 20) /* the default, and the core's */

/* A connection whose peer has vanished ends within 40 s, if it has a call. Servers of gRPC refuse clients that ping
 * more often than they allow, or without a call. */
#define KEEPALIVE_TIME_MS    30000
#define KEEPALIVE_TIMEOUT_MS 10000
/* A connection that is not up after this time is tried again: its packets may be lost. */
#define CONNECT_TIMEOUT_MS 5000
#define LOOKUP_INTERVAL_MS 1000

static void add_arg(grpc_channel_args *args, const char *key, int value) {
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)key};
    arg.value.integer = value;
    args->args[args->num_args++] = arg;
}

static void add_text(grpc_channel_args *args, const char *key, const char *value) {
    grpc_arg arg = {.type = GRPC_ARG_STRING, .key = (char *)key};
    arg.value.string = (char *)(uintptr_t)value;
    args->args[args->num_args++] = arg;
}

/* Arguments of every channel. */
static void add_common_args(grpc_channel_args *args, size_t max_message_bytes) {
    add_arg(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, max_message_bytes < INT_MAX ? (int)max_message_bytes : INT_MAX);
    add_arg(args, GRPC_ARG_ENABLE_RETRIES, 0); /* only the caller knows whether that is safe */
    add_arg(args, GRPC_ARG_ENABLE_CHANNELZ, 0);
    /* As on the server, message.c decompresses within the limits. */
    add_arg(args, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, COMPRESSIONS);
    add_arg(args, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

static bool create_cores(struct rpc_channel *channel, const struct target *target,
                         const struct rpc_channel_options *options, struct err *err) {
    grpc_arg room[24];
    grpc_channel_args args = {.args = room};
    add_common_args(&args, channel->max_message_bytes);
    const char *name = options->server_name ? options->server_name : target->name;
    if (name)
        add_text(&args, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, name);
    if (target->name) /* all servers of a list are asked for by one name */
        add_text(&args, GRPC_ARG_DEFAULT_AUTHORITY, name);
    add_text(&args, GRPC_ARG_LB_POLICY_NAME, "round_robin");
    add_arg(&args, GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_TIME_MS);
    add_arg(&args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS);
    add_arg(&args, CORE_ARG_PING_TIMEOUT, KEEPALIVE_TIMEOUT_MS);
    add_arg(&args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0); /* no limit: a stream may be silent for hours */
    add_arg(&args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);    /* a connection per channel */
    /* A channel finds a restarted server within a second; the core's own backoff grows to two minutes. */
    add_arg(&args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    add_arg(&args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    add_arg(&args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS);
    /* A name is looked up again after a connection has failed, but by default only every 30 s. */
    add_arg(&args, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, LOOKUP_INTERVAL_MS);
    /* A proxy named in the environment is not used. */
    add_arg(&args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    grpc_channel_credentials *credentials =
        options->tls ? tls_client_credentials(options->tls, err) : grpc_insecure_credentials_create();
    if (!credentials)
        return false;
    channel->cores = memory_new(target->n, sizeof *channel->cores);
    for (size_t i = 0; i < target->n; i++)
        channel->cores[channel->n_cores++] = grpc_channel_create(target->uris[i], credentials, &args);
    grpc_channel_credentials_release(credentials);
    return true;
}

/* Adds a poller: `shared`, or one with a thread of its own if that is NULL. */
static bool add_poller(struct rpc_channel *channel, struct poller *shared, struct err *err) {
    struct client_poller *poller = &channel->pollers[channel->n_pollers++];
    pthread_mutex_init(&poller->lock, NULL);
    pthread_cond_init(&poller->empty, NULL);
    poller->base = shared ? shared : &poller->own;
    if (shared)
        return true;
    poller_init(&poller->own);
    return poller_start(&poller->own, err);
}

static bool start_pollers(struct rpc_channel *channel, unsigned n, struct err *err) {
    channel->pollers = memory_new(n, sizeof *channel->pollers);
    while (channel->n_pollers < n)
        if (!add_poller(channel, NULL, err))
            return false;
    return true;
}

static bool check_token(const struct target *target, const char *text, const struct rpc_channel_options *options,
                        struct err *err) {
    if (!options->token)
        return true;
    if (!grpc_header_nonbin_value_is_legal(grpc_slice_from_static_string(options->token)))
        return err_set(err, ERR_INVALID, BACKEND_NONE,
                       "the token has a byte that no header may have, e.g. a line break");
    if (options->tls || target->is_local || options->plaintext_token)
        return true;
    return err_set(
        err, ERR_INVALID, BACKEND_NONE,
        "%.100s is not loopback, and there is no TLS, so everybody on the way could read the token: use TLS, "
        "or set plaintext_token where the network is trusted",
        text);
}

static struct rpc_channel *channel_new(size_t max_message_bytes) {
    struct rpc_channel *channel = memory_new(1, sizeof *channel);
    pthread_mutex_init(&channel->lock, NULL);
    pthread_mutex_init(&channel->pick_lock, NULL);
    core_init();
    channel->max_message_bytes = max_message_bytes ? max_message_bytes : MESSAGE_BYTES_MAX;
    return channel;
}

struct rpc_channel *channel_of_socket(int fd, struct poller *poller) {
    struct rpc_channel *channel = channel_new(0);
    grpc_arg room[8];
    grpc_channel_args args = {.args = room};
    add_common_args(&args, channel->max_message_bytes);
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    channel->cores = memory_new(1, sizeof *channel->cores);
    channel->cores[channel->n_cores++] = grpc_channel_create_from_fd("couponsd", fd, credentials, &args);
    grpc_channel_credentials_release(credentials);
    channel->pollers = memory_new(1, sizeof *channel->pollers);
    add_poller(channel, poller, NULL);
    return channel;
}

bool rpc_channel_new(const char *text, const struct rpc_channel_options *options, struct rpc_channel **ret_channel,
                     struct err *err) {
    static const struct rpc_channel_options none = {0};
    options = options ? options : &none;
    struct target target;
    if (!target_init(text, &target, err))
        return false;
    if (!check_token(&target, text, options, err)) {
        target_deinit(&target);
        return false;
    }
    struct rpc_channel *channel = channel_new(options->max_message_bytes);
    bool ok = create_cores(channel, &target, options, err);
    target_deinit(&target);
    if (options->token) {
        struct strbuf credential = {0};
        strbuf_printf(&credential, "Bearer %s", options->token);
        channel->credential = credential.data;
    }
    if (!ok || !start_pollers(channel, options->pollers > 0 ? (unsigned)options->pollers : 1, err)) {
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
    while (poller->in_flight || poller->n_ending > 0)
        pthread_cond_wait(&poller->empty, &poller->lock);
    pthread_mutex_unlock(&poller->lock);
}

static void client_poller_deinit(struct client_poller *poller) {
    if (poller->base == &poller->own) {
        poller_drain(&poller->own);
        poller_deinit(&poller->own);
    }
    while (poller->idle) {
        struct operation *operation = poller->idle;
        poller->idle = operation->next;
        operation_free(operation);
    }
    pthread_cond_destroy(&poller->empty);
    pthread_mutex_destroy(&poller->lock);
}

static void client_service_free(struct client_service *service) {
    for (unsigned i = 0; service->methods && i < service->base.descriptor->n_methods; i++) {
        free(service->methods[i].path);
        free(service->methods[i].registered);
    }
    free(service->methods);
    free(service);
}

void rpc_channel_free(struct rpc_channel *channel) {
    if (!channel)
        return;
    atomic_store(&channel->is_closing, true);
    pick_end(channel);
    for (unsigned i = 0; i < channel->n_pollers; i++)
        cancel_all(&channel->pollers[i]);
    for (unsigned i = 0; i < channel->n_cores; i++)
        grpc_channel_destroy(channel->cores[i]);
    free(channel->cores);
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
    pthread_mutex_destroy(&channel->pick_lock);
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
    method->registered = memory_new(channel->n_cores, sizeof *method->registered);
    for (unsigned i = 0; i < channel->n_cores; i++)
        method->registered[i] = grpc_channel_register_call(channel->cores[i], method->path, NULL, NULL);
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

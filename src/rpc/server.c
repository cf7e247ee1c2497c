/* SPDX-License-Identifier: Apache-2.0 */
/* The server's life: options, services, binding, stopping. call.c and receive.c handle its calls.
 *
 * One thread at a time calls new, add, start, stop and free. `lock` guards what the pollers' threads report to stop. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "edge/edge.h"
#include "rpc/call.h"
#include "rpc/core.h"
#include "rpc/early.h"
#include "rpc/listen.h"
#include "rpc/self_test.h"

/* How long a client may take to finish the handshake. The core's default is two minutes. */
#define HANDSHAKE_TIMEOUT_MS 10000
/* How long the calls of a connection that has reached its age may still take. Then they are cut off, and clients try
 * again on another one. */
#define CONNECTION_AGE_GRACE_MS 60000
/* How long a client may take to answer a ping of keepalive. The core's default is 20 s. */
#define KEEPALIVE_TIMEOUT_MS 10000
/* How often clients may ping where the edge does not judge them. The core's default is five minutes, and many clients
 * ping every 10 s to 30 s. */
#define CLIENT_PING_MIN_MS 5000
/* How often stop reads `hurry`, since nothing signals its change. */
#define STOP_TICK_MS 10
/* After the last call, how long its answer may travel before the connections are cut. */
#define LINGER_MS 100
/* How long the core's threads may need to cut them. */
#define CUT_MS 10

static const struct rpc_server_options defaults = {
    .pollers = 1,
    .max_message_bytes = 4 << 20, /* as the core */
    .max_metadata_bytes = 8 << 10,
    .max_address_waiting = 1000,
};

static op_fn on_shut_down;

static bool make_local_key(char ret[static LOCAL_KEY_SIZE], struct err *err) {
    unsigned char bytes[LOCAL_KEY_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return err_set(err, ERR_INTERNAL, BACKEND_NONE, "the system gives no random bytes");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

bool rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret_server, struct err *err) {
    struct rpc_server *server = memory_new(1, sizeof *server);
    server->listen = memory_copy(options->listen);
    server->options = *options;
    if (server->options.pollers < 1)
        server->options.pollers = defaults.pollers;
    if (server->options.max_message_bytes == 0)
        server->options.max_message_bytes = defaults.max_message_bytes;
    if (server->options.max_metadata_bytes == 0)
        server->options.max_metadata_bytes = defaults.max_metadata_bytes;
    if (server->options.max_address_waiting == 0)
        server->options.max_address_waiting = defaults.max_address_waiting;
    pthread_mutex_init(&server->lock, NULL);
    thread_cond_init_monotonic(&server->changed);
    core_init();
    server->options.tls = NULL; /* server->tls has a copy */
    server->callers = callers_new(&options->caller_limits);
    if (options->tls &&
        !tls_server_new(options->tls, options->on_tls_reload, options->on_tls_reload_arg, &server->tls, err)) {
        rpc_server_free(server);
        return false;
    }
    if (!make_local_key(server->local_key, err) ||
        !descriptors_init(&server->descriptors, options->descriptor_set, options->descriptor_set_size, err)) {
        rpc_server_free(server);
        return false;
    }
    *ret_server = server;
    return true;
}

bool server_add(struct rpc_server *server, ProtobufCService *impl, const struct rpc_method *methods, size_t n_methods,
                const struct bridge_service *own, struct err *err) {
    struct service **last = &server->services;
    for (; *last; last = &(*last)->next)
        if (strcmp((*last)->impl->descriptor->name, impl->descriptor->name) == 0)
            return err_set(err, ERR_CONFLICT, BACKEND_NONE, "%s was added already", impl->descriptor->name);
    if (server->core)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "%s must be added before the server starts",
                       impl->descriptor->name);
    struct service *service;
    if (!service_new(impl, methods, n_methods, &server->descriptors, &service, err))
        return false;
    service->own = own != NULL;
    if (own)
        service->bridge = *own;
    *last = service;
    return true;
}

bool rpc_server_add(struct rpc_server *server, ProtobufCService *impl, const struct rpc_method *methods,
                    size_t n_methods, struct err *err) {
    return server_add(server, impl, methods, n_methods, NULL, err);
}

bool rpc_server_limit(struct rpc_server *server, const char *service_name, const char *method_name,
                      const struct rpc_limits *limits, struct err *err) {
    for (struct service *service = server->services; service; service = service->next)
        for (unsigned i = 0; i < service->n_methods; i++)
            if (strcmp(service->impl->descriptor->name, service_name) == 0 &&
                strcmp(service->methods[i].descriptor->name, method_name) == 0) {
                service->methods[i].limits = *limits;
                return true;
            }
    return err_set(err, ERR_NOT_FOUND, BACKEND_NONE, "%s.%s was not added", service_name, method_name);
}

/* --- start --- */

static int clamp_int(int64_t value) {
    return value > INT_MAX ? INT_MAX : (int)value;
}

static void add_arg(grpc_channel_args *args, const char *key, int64_t value) {
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)key};
    arg.value.integer = clamp_int(value);
    args->args[args->num_args++] = arg;
}

/* With keepalive, the core also sets TCP_USER_TIMEOUT to KEEPALIVE_TIMEOUT_MS. */
static void add_keepalive(grpc_channel_args *args, int64_t interval_ms) {
    /* Clients may ping as well, also while they have no calls. */
    add_arg(args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    add_arg(args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, CLIENT_PING_MIN_MS);
    if (interval_ms == 0)
        return;
    add_arg(args, GRPC_ARG_KEEPALIVE_TIME_MS, interval_ms);
    add_arg(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS);
    add_arg(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0); /* no limit */
}

static grpc_server *create_core(const struct rpc_server_options *options, bool has_tls) {
    grpc_arg room[24];
    grpc_channel_args args = {.args = room};
    add_arg(&args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int64_t)options->max_message_bytes);
    add_arg(&args, GRPC_ARG_MAX_METADATA_SIZE, (int64_t)options->max_metadata_bytes);
    add_arg(&args, CORE_ARG_HARD_METADATA_SIZE, (int64_t)options->max_metadata_bytes);
    /* max_in_flight refuses calls, with a text of ours. */
    add_arg(&args, CORE_ARG_PENDING_SOFT, INT_MAX);
    add_arg(&args, CORE_ARG_PENDING_HARD, INT_MAX);
    add_arg(&args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS);
    /* The core's own limit on pings forgets a client that reconnects. edge/frames.c and edge/addresses.c do not. */
    if (edge_is_present())
        add_arg(&args, GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
    if (options->max_concurrent_streams > 0)
        add_arg(&args, GRPC_ARG_MAX_CONCURRENT_STREAMS, options->max_concurrent_streams);
    if (options->max_connection_age_ms > 0) {
        add_arg(&args, GRPC_ARG_MAX_CONNECTION_AGE_MS, options->max_connection_age_ms);
        add_arg(&args, GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, CONNECTION_AGE_GRACE_MS);
    }
    add_keepalive(&args, options->keepalive_ms);
    /* A second server on the same port has to fail rather than share it. */
    add_arg(&args, GRPC_ARG_ALLOW_REUSEPORT, 0);
    /* The core decompresses a whole message before it checks the size: a few kilobytes may become gigabytes. message.c
     * decompresses within the limits. */
    add_arg(&args, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, COMPRESSIONS);
    add_arg(&args, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    /* The table of headers at the client is for early answers, which are all alike (edge/doorstep/reply.h). */
    if (options->early.path && !has_tls && edge_is_present())
        add_arg(&args, GRPC_ARG_HTTP2_HPACK_TABLE_SIZE_ENCODER, 0);
    /* Statistics of each call, which nobody reads. */
    add_arg(&args, GRPC_ARG_ENABLE_CHANNELZ, 0);
    return grpc_server_create(&args, NULL);
}

static void register_methods(struct rpc_server *server) {
    for (struct service *service = server->services; service; service = service->next)
        for (unsigned i = 0; i < service->n_methods; i++) {
            struct method *method = &service->methods[i];
            method->registered = grpc_server_register_method(
                server->core, method->path, NULL,
                shape_takes_one(method->shape) ? GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER : GRPC_SRM_PAYLOAD_NONE, 0);
        }
}

static bool bind_port(struct rpc_server *server, struct err *err) {
    if (!listen_check(server->listen, err))
        return false;
    grpc_server_credentials *credentials =
        server->tls ? tls_server_credentials(server->tls, err) : grpc_insecure_server_credentials_create();
    if (!credentials)
        return false;
    int port = grpc_server_add_http2_port(server->core, server->listen, credentials);
    grpc_server_credentials_release(credentials);
    if (port <= 0)
        return listen_explain(server->listen, err);
    free(server->address);
    server->address = listen_address(server->listen, port);
    return true;
}

static void create_pollers(struct rpc_server *server) {
    size_t n = (size_t)server->options.pollers;
    server->pollers = memory_new(n, sizeof *server->pollers);
    for (size_t i = 0; i < n; i++) {
        struct server_poller *poller = &server->pollers[i];
        poller->server = server;
        pthread_mutex_init(&poller->lock, NULL);
        poller->base.work = call_pump_some;
        poller->base.tick = call_tick;
        poller->last_pump = &poller->first_pump;
        poller_init(&poller->base);
        grpc_server_register_completion_queue(server->core, poller->base.queue, NULL);
    }
}

/* One accept per method and queue: on_accepted arms the next before it works on a call. Several at a time measured no
 * faster. */
static void arm_all(struct rpc_server *server) {
    for (int p = 0; p < server->options.pollers; p++) {
        for (struct service *service = server->services; service; service = service->next)
            for (unsigned i = 0; i < service->n_methods; i++)
                call_arm(&server->pollers[p], &service->methods[i]);
        call_arm(&server->pollers[p], NULL);
    }
}

static bool start_pollers(struct rpc_server *server, struct err *err) {
    for (int i = 0; i < server->options.pollers; i++)
        if (!poller_start(&server->pollers[i].base, err))
            return false;
    return true;
}

/* The core exists and has been told to shut down. */
static void destroy_core(struct rpc_server *server) {
    for (int i = 0; i < server->options.pollers; i++)
        poller_drain(&server->pollers[i].base);
    grpc_server_destroy(server->core);
    server->core = NULL;
    for (int i = 0; i < server->options.pollers; i++) {
        poller_deinit(&server->pollers[i].base);
        call_pool_deinit(&server->pollers[i]);
        pthread_mutex_destroy(&server->pollers[i].lock);
    }
    free(server->pollers);
    server->pollers = NULL;
}

static int port_of(const struct rpc_server *server) {
    return (int)strtol(strrchr(server->address, ':') + 1, NULL, 10);
}

bool rpc_server_start(struct rpc_server *server, struct err *err) {
    atomic_store(&server->stopping, false);
    atomic_store(&server->draining, false);
    server->is_shut_down = server->own_closed = false;
    edge_init(&(struct edge_limits){
        .max_connections = server->options.max_connections,
        .max_address_waiting = server->options.max_address_waiting > 0 ? server->options.max_address_waiting : 0,
        .max_metadata_bytes = server->options.max_metadata_bytes,
        .max_message_bytes = server->options.max_message_bytes,
    });
    if (!self_test(server->tls != NULL, err))
        return false;
    server->core = create_core(&server->options, server->tls != NULL);
    create_pollers(server);
    register_methods(server);
    if (!bind_port(server, err) || !start_pollers(server, err)) {
        grpc_server_shutdown_and_notify(server->core, server->pollers[0].base.queue,
                                        op_arm(&server->shutdown_op, on_shut_down));
        destroy_core(server);
        return false;
    }
    early_start(server, port_of(server));
    edge_open(port_of(server));
    grpc_server_start(server->core);
    arm_all(server);
    return true;
}

const char *rpc_server_address(const struct rpc_server *server) {
    return server->address;
}

int64_t rpc_server_in_flight(const struct rpc_server *server) {
    return atomic_load(&server->in_flight);
}

int64_t rpc_server_taken(const struct rpc_server *server) {
    return atomic_load(&server->n_taken);
}

int64_t rpc_connections_refused(void) {
    return edge_refused();
}

int64_t rpc_connections_cut(enum edge_abuse abuse) {
    return edge_cut(abuse);
}

/* --- stop --- */

/* Once the core is told to shut down, it ends each call that it has not handed out yet with CANCELLED (seen with
 * 1.51.1), and clients go on calling until they have read its GOAWAY. So stopping takes three steps:
 *
 * - While calls in flight finish, new calls are accepted and refused.
 * - The connections are cut, which clients see as UNAVAILABLE.
 * - When no client is left to be told, the core is shut down.
 *
 * grpc_server_cancel_all_calls cuts the connections. It is documented for servers that are shut down; it does the same
 * before. */

static void on_shut_down(struct op *op, bool ok) {
    (void)ok;
    struct rpc_server *server = OWNER_OF(op, struct rpc_server, shutdown_op);
    pthread_mutex_lock(&server->lock);
    server->is_shut_down = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

/* Waits for a signal of `changed`, for one tick at most. Lock held. */
static void wait_tick(struct rpc_server *server) {
    struct timespec until = clock_mono_timespec(clock_mono_us() + STOP_TICK_MS * US_PER_MS);
    pthread_cond_timedwait(&server->changed, &server->lock, &until);
}

/* No call is in flight, and the core has shut down. Lock held. */
static bool is_quiet(const struct rpc_server *server) {
    return server->is_shut_down && atomic_load(&server->in_flight) == 0;
}

/* Waits until each accepted call has been answered, for grace_ms at most. */
static void wait_for_grace(struct rpc_server *server, int64_t grace_ms, const atomic_bool *hurry) {
    int64_t until_us = clock_mono_us() + grace_ms * US_PER_MS;
    pthread_mutex_lock(&server->lock);
    while (atomic_load(&server->in_flight) > atomic_load(&server->refused) && clock_mono_us() < until_us &&
           !(hurry && atomic_load_explicit(hurry, memory_order_relaxed)))
        wait_tick(server);
    pthread_mutex_unlock(&server->lock);
}

/* Closes the door first, so that no client connects after the cut. */
static void cut(struct rpc_server *server, int64_t linger_ms) {
    edge_close(port_of(server));
    clock_sleep_us(linger_ms * US_PER_MS);
    grpc_server_cancel_all_calls(server->core);
    clock_sleep_us(linger_ms ? CUT_MS * US_PER_MS : 0);
    atomic_store(&server->stopping, true);
    grpc_server_shutdown_and_notify(server->core, server->pollers[0].base.queue,
                                    op_arm(&server->shutdown_op, on_shut_down));
}

static void wait_until_quiet(struct rpc_server *server) {
    pthread_mutex_lock(&server->lock);
    while (!is_quiet(server))
        wait_tick(server);
    pthread_mutex_unlock(&server->lock);
}

void rpc_server_stop(struct rpc_server *server, int64_t grace_ms, const atomic_bool *hurry) {
    if (!server->core)
        return;
    atomic_store(&server->draining, true);
    early_stop(port_of(server));
    call_close_own_streams(server);
    wait_for_grace(server, grace_ms, hurry);
    cut(server, grace_ms > 0 ? LINGER_MS : 0);
    grpc_server_cancel_all_calls(server->core);
    wait_until_quiet(server);
    edge_forget(port_of(server));
    destroy_core(server);
}

void rpc_server_free(struct rpc_server *server) {
    if (!server)
        return;
    rpc_server_stop(server, 0, NULL);
    while (server->services) {
        struct service *service = server->services;
        server->services = service->next;
        service_free(service);
    }
    descriptors_deinit(&server->descriptors);
    core_deinit();
    tls_server_free(server->tls);
    callers_free(server->callers);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server->address);
    free(server->listen);
    free(server);
}

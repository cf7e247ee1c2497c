/* SPDX-License-Identifier: Apache-2.0 */
/* The server's inner structures: shared by the server's life (server.c), its calls (call.h), and the services that come
 * with the bridge (health.c, reflection.c). Not for users of the bridge.
 *
 *   own   of a service that comes with the bridge: health, reflection
 *
 * Fields without a lock or an atomic type are fixed from rpc_server_start to rpc_server_stop. A call's lock is taken
 * before a poller's lock. */
#pragma once

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/callers.h"
#include "rpc/descriptors.h"
#include "rpc/method.h"
#include "rpc/poller.h"
#include "rpc/server.h"
#include "rpc/tls.h"

struct rpc_call;

struct server_poller {
    struct poller base;
    struct rpc_server *server;
    pthread_mutex_t lock;  /* guards what follows */
    struct rpc_call *idle; /* not in use */
    size_t n_idle;
    struct rpc_call *oldest, *youngest;       /* unwatched */
    struct rpc_call *first_pump, **last_pump; /* have something to send that other threads have given them */
};

struct rpc_server {
    struct rpc_server_options options; /* its listen and descriptor_set are not ours */
    char *listen, *address;
    grpc_server *core; /* from start to stop */
    struct descriptors descriptors;
    struct service *services;
    struct server_poller *pollers;
    struct tls_server *tls;
    struct callers *callers;
    struct op shutdown_op;
    atomic_bool draining; /* calls that come from now on are refused */
    atomic_bool stopping; /* none is waited for any more */
    _Atomic int64_t in_flight;
    _Atomic int64_t own_in_flight;
    _Atomic int64_t refused; /* of those in flight: they came too late */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool is_shut_down;
    bool own_closed;
    struct rpc_call *own_streams; /* calls of own streaming methods that are to be ended by rpc_server_stop */
};

bool server_add(struct rpc_server *server, ProtobufCService *impl, const struct rpc_method *methods, size_t n_methods,
                const struct bridge_service *own, struct err *err);

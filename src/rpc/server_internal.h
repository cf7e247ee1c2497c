/* SPDX-License-Identifier: Apache-2.0 */
/* The server's internal structures, shared by server.c (the server's life), call.h (its calls), health.c and
 * reflection.c (the services that come with the bridge). Not for users of the bridge.
 *
 *   own   of a service that comes with the bridge: health, reflection
 *
 * Fields without a lock or an atomic type are fixed from rpc_server_start to rpc_server_stop. A thread takes a call's
 * lock before a poller's lock. */
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

#define LOCAL_KEY_BYTES 16
#define LOCAL_KEY_SIZE  (2 * LOCAL_KEY_BYTES + 1)

struct rpc_call;

struct server_poller {
    struct poller base;
    struct rpc_server *server;
    pthread_mutex_t lock;  /* guards what follows */
    struct rpc_call *idle; /* the pool */
    size_t n_idle;
    struct rpc_call *oldest, *youngest;       /* unwatched calls */
    struct rpc_call *first_pump, **last_pump; /* calls that other threads have given something to send */
};

struct rpc_server {
    struct rpc_server_options
        options; /* its `listen` and `tls` are not used: `listen` and `tls` below are the server's copies */
    char *listen, *address;
    grpc_server *core; /* NULL before start and after stop */
    struct descriptors descriptors;
    struct service *services;
    struct server_poller *pollers;
    const struct method *early_method; /* of options.early; NULL: its calls are not taken */
    struct tls_server *tls;
    char local_key[LOCAL_KEY_SIZE]; /* in hex; see rpc/local.h */
    struct callers *callers;
    struct op shutdown_op;
    atomic_bool draining; /* new calls are refused */
    atomic_bool stopping; /* no more calls are armed */
    _Atomic int64_t in_flight;
    _Atomic int64_t own_in_flight;
    _Atomic int64_t n_taken;
    _Atomic int64_t refused; /* of in_flight: calls that came while draining */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool is_shut_down;
    bool own_closed;
    struct rpc_call *own_streams; /* open streams of own services, for rpc_server_stop to end */
};

/* As rpc_server_add. `own`: set for a service that comes with the bridge. The server frees own->object, but not where
 * this fails. */
bool server_add(struct rpc_server *server, ProtobufCService *impl, const struct rpc_method *methods, size_t n_methods,
                const struct bridge_service *own, struct err *err);

/* What the files of the bridge share; nobody outside src/rpc includes it.
 *
 *   op        what a completion queue hands back: a function, embedded in the object it is about
 *   poller    a completion queue and the one thread that takes from it
 *   service   a served ProtobufCService and its methods
 *   own       said of the services that come with the bridge (health, reflection)
 *
 * The core's queues order memory between threads, but by means a race detector can't see. So an op's function is stored
 * again with release just before it is given to the core (op_arm), and loaded with acquire when it comes back. */
#pragma once

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/err.h"
#include "edge/edge.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "rpc/callers.h"
#include "rpc/core.h"
#include "rpc/descriptors.h"
#include "rpc/listen.h"
#include "rpc/message.h"
#include "rpc/metadata.h"
#include "rpc/method.h"
#include "rpc/poller.h"
#include "rpc/tls.h"
#include "rpc/utf8.h"
#include "rpc/writes.h"
#include "rpc/self_test.h"
#include "rpc/server.h"

#define OWNER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* --- server.c --- */

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
    struct rpc_health *health;
    struct reflection *reflection;
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
                bool own, struct err *err);

/* --- health.c, reflection.c --- */

void health_free(struct rpc_health *health);
void reflection_free(struct reflection *reflection);

/* SPDX-License-Identifier: Apache-2.0 */
/* Structures shared by client.c (calls) and channel.c (channels, their pollers, the services for stubs).
 *
 *   operation   a call in the core, behind the caller's rpc_client_call; pooled. client.c explains its rules */
#pragma once

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "rpc/client.h"
#include "rpc/message.h"
#include "rpc/metadata.h"
#include "rpc/poller.h"
#include "rpc/writes.h"

#define OPERATION_TEXT_MAX 400

struct client_poller {
    struct poller *base; /* `own`, or a server's */
    struct poller own;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t empty;
    struct operation *in_flight;
    size_t n_ending; /* no longer in flight, but not done with the poller */
    struct operation *idle;
    size_t n_idle;
};

struct client_method {
    const ProtobufCMethodDescriptor *descriptor;
    bool is_known; /* the table of methods has it */
    bool takes_one, gives_one;
    char *path;        /* must live as long as the channel */
    void **registered; /* with each of the channel's cores */
};

struct client_service {
    ProtobufCService base; /* first: stubs get a pointer to it */
    struct rpc_channel *channel;
    struct client_service *next;
    struct client_method *methods;
};

struct rpc_channel {
    grpc_channel **cores; /* one for each address of a list; otherwise one */
    unsigned n_cores;
    size_t max_message_bytes;
    char *credential; /* "Bearer …", or NULL */
    struct client_poller *pollers;
    unsigned n_pollers;
    atomic_uint turn;
    pthread_mutex_t lock; /* guards `services` */
    struct client_service *services;
    atomic_bool is_closing; /* calls that begin now are cancelled */

    pthread_mutex_t pick_lock; /* guards what follows; see pick.c */
    unsigned next_core;
    struct operation *waiting;
    bool is_ticking;
    struct op tick_op;
};

/* How much of a stream's request the core was given. It only grows. */
enum operation_sent {
    REQUEST_NOTHING,
    REQUEST_HEADERS, /* messages may follow */
    REQUEST_CLOSE,   /* the half-close: nothing follows */
    REQUEST_BROKEN,  /* a send failed: nothing follows */
};

struct operation {
    struct client_poller *poller;
    struct operation *previous, *next;
    struct rpc_channel *channel;
    struct rpc_client_call *call;
    const struct client_method *method;
    ProtobufCClosure closure;
    grpc_call *core; /* NULL while the call waits for an address */
    gpr_timespec deadline;
    struct operation *next_waiting;
    unsigned core_index; /* where the call begins when its wait is over */
    struct op step_op, status_op, headers_op, send_op;
    grpc_metadata_array headers, trailers;
    grpc_byte_buffer *incoming;
    size_t received_bytes;
    bool is_compressed; /* the current message came compressed */

    /* guarded by the call's lock, except for unary calls */
    int outstanding;
    struct metadata metadata;
    struct writes writes;
    struct write outgoing; /* the message of the batch on its way */
    enum operation_sent sent;
    bool sending;        /* a batch of sends is on its way */
    bool close_wanted;   /* no message follows those in `writes` */
    bool reading_held;   /* the caller has paused reading */
    bool receive_paused; /* a receive is due, but reading is paused */
    bool cancel_wanted;  /* the call is cancelled when it begins */

    grpc_status_code code;
    grpc_slice text;
    bool is_failed; /* the bridge failed the call: own_code and own_text replace the core's status */
    int own_code;
    char own_text[OPERATION_TEXT_MAX];
    struct arena arena;
};

/* The `invoke` function of a channel's services. In client.c. */
void client_invoke(ProtobufCService *service, unsigned index, const ProtobufCMessage *input, ProtobufCClosure closure,
                   void *closure_data);
void operation_free(struct operation *operation);
/* Begins a call that has waited for an address, on core_index. In client.c. */
void operation_resume(struct operation *operation);
/* A channel over a connected socket, which becomes the core's. Its calls run on `poller`, which must outlive it. In
 * channel.c. */
struct rpc_channel *channel_of_socket(int fd, struct poller *poller);

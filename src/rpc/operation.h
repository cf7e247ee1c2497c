/* SPDX-License-Identifier: Apache-2.0 */
/* What client.c (calls) and channel.c (channels, their pollers and their stubs' services) share.
 *
 *   operation   a call in the core: what the caller's rpc_client_call has behind it; pooled. client.c has its rules */
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
    struct poller base;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t empty;
    struct operation *in_flight;
    struct operation *idle;
    size_t n_idle;
};

struct client_method {
    const ProtobufCMethodDescriptor *descriptor;
    bool is_known; /* in the table of shapes */
    bool takes_one, gives_one;
    char *path; /* must live as long as the channel */
    void *registered;
};

struct client_service {
    ProtobufCService base; /* first: what the stubs get */
    struct rpc_channel *channel;
    struct client_service *next;
    struct client_method *methods;
};

struct rpc_channel {
    grpc_channel *core;
    size_t max_message_bytes;
    char *credential; /* "Bearer …", or NULL */
    struct client_poller *pollers;
    unsigned n_pollers;
    atomic_uint turn;
    pthread_mutex_t lock; /* guards `services` */
    struct client_service *services;
};

struct operation {
    struct client_poller *poller;
    struct operation *previous, *next;
    const struct rpc_channel *channel;
    struct rpc_client_call *call;
    const struct client_method *method;
    ProtobufCClosure closure;
    grpc_call *core;
    struct op step_op, status_op, headers_op, send_op;
    grpc_metadata_array headers, trailers;
    grpc_byte_buffer *incoming;
    size_t received_bytes;
    bool is_compressed; /* the message being delivered */

    /* guarded by the call's lock but for unary calls */
    int outstanding;
    struct metadata metadata;
    struct writes writes;
    struct write outgoing; /* of the batch on its way */
    bool metadata_sent, sending, close_wanted, close_sent;
    bool broken;         /* a send failed: no more of them */
    bool reading_held;   /* by the caller */
    bool receive_paused; /* no receive is on its way, and one is due */

    grpc_status_code code;
    grpc_slice text;
    bool is_failed; /* by us, whatever the core says: own_code and own_text tell how */
    int own_code;
    char own_text[OPERATION_TEXT_MAX];
    struct arena arena;
};

/* The `invoke` of a channel's services. client.c */
void client_invoke(ProtobufCService *service, unsigned index, const ProtobufCMessage *input, ProtobufCClosure closure,
                   void *closure_data);
void operation_free(struct operation *operation);

/* SPDX-License-Identifier: Apache-2.0 */
/* One call on the server: its state, and what call.c (life, answers, sending) and receive.c (accepting, requests) owe
 * each other.
 *
 * Life. A call object belongs to a poller for good and is used again and again. It is armed (waits in the core for a
 * client), accepted (counts as in flight), ended (its answer was given: the first of respond, finish, fail), and
 * released when its last reference goes: back to the pool. References: one of the service from accept to end, one of
 * each batch the core works on, those of rpc_call_ref.
 *
 * Watching. A batch of its own, the close batch, reports that the core is through with a call or has cancelled it. It
 * costs a tenth of a call. Most unary calls are answered before a client would cancel them. They are unwatched at first,
 * and their close is part of the batch with their answer. A call that takes longer than WATCH_AFTER_MS, or that sets a
 * cancel function, is watched from then on; the poller goes through its list of unwatched calls for that.
 *
 * Threads. All ops of a call run on its poller's thread. Answers come from any thread, and the poller's thread gives them
 * to the core. So one thread uses the core with its locks, and the answers of a batch lie together. `lock` guards the
 * fields named below. It is held while sends are started, which keeps them in order, and never while the service's code
 * runs.
 *
 * Cancelling. The close batch reports it. Then nothing is sent any more, and the service's cancel function runs if the
 * call has not ended yet. An answer may be given on another thread while it runs, or just before
 * it starts: the call outlives it either way, and the answer is dropped. */
#pragma once

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "rpc/callers.h"
#include "rpc/message.h"
#include "rpc/metadata.h"
#include "rpc/method.h"
#include "rpc/poller.h"
#include "rpc/server.h"
#include "rpc/server_internal.h"
#include "rpc/utf8.h"
#include "rpc/writes.h"

/* Where a call is in its life. Guarded by the call's lock once the call is accepted. */
enum call_life {
    CALL_ARMED,    /* waits in the core for a client */
    CALL_ACCEPTED, /* the service has it */
    CALL_ENDED,    /* its answer was given; the rest is ours and the core's */
};

/* How the core's word that it is through with the call is waited for: the close batch. Guarded by the call's lock. */
enum call_watch {
    WATCH_NONE,        /* not accepted yet */
    WATCH_LATER,       /* on the poller's list of unwatched calls */
    WATCH_WITH_STATUS, /* the close is part of the batch with the answer */
    WATCH_STARTED,     /* a batch of its own is on its way, or back */
};

/* How far the answer has gone to the core. It only ever grows. Guarded by the call's lock. */
enum call_sent {
    SENT_NOTHING,
    SENT_HEADERS_WANTED, /* the service wants them out before there is a message */
    SENT_HEADERS,        /* they are out, or on their way; messages may follow */
    SENT_STATUS,         /* likewise; nothing follows */
    SENT_BROKEN,         /* a send failed: nothing follows */
};

/* Laid out by what guards the fields. */
struct rpc_call {
    /* --- fixed for the object's life --- */
    struct rpc_server *server;
    struct server_poller *poller;

    /* --- atomic: any thread --- */
    atomic_int refs;
    atomic_bool cancelled;        /* the client has cancelled, or a send has failed */
    atomic_size_t pending_writes; /* messages that the core has not taken yet */

    /* --- guarded by the poller's lock --- */
    struct rpc_call *next_idle;       /* in the pool */
    struct rpc_call *older, *younger; /* in the list of those with WATCH_LATER */
    struct rpc_call *next_pump;       /* in the list of those that other threads have given something to send */

    /* --- guarded by the server's lock: the open streams of the bridge's own services --- */
    struct rpc_call *own_previous, *own_next;
    bool is_own_stream; /* it is on that list */

    /* --- written by the poller's thread before the service sees the call; then read-only --- */
    const struct method *method; /* NULL: the client asks for one that does not exist */
    grpc_call *core;
    gpr_timespec deadline;
    grpc_call_details details; /* without method only */
    grpc_metadata_array metadata;
    int64_t start_us, deadline_us; /* monotonic */
    struct caller *caller;         /* it counts for; NULL: none is limited */
    uint64_t caller_key;           /* 0: as its address says */
    int64_t subject;
    bool is_own;  /* of a service that comes with the bridge */
    bool is_late; /* counted in the server's `refused` */

    /* --- of the poller's thread: receiving --- */
    struct op accept_op, close_op, receive_op, send_op;
    struct arena arena;         /* the request, rpc_call_alloc */
    struct arena message_arena; /* the current message of a client or bidi stream */
    grpc_byte_buffer *incoming; /* written by the core */
    int was_cancelled;          /* written by the core */
    bool is_large;              /* a message was */
    bool is_compressed;         /* the current message was */
    size_t received_bytes;

    /* --- guarded by `lock` --- */
    pthread_mutex_t lock;
    enum call_life life;
    enum call_watch watch;
    enum call_sent sent;
    bool sending;                     /* a batch of sends is on its way */
    bool is_pump_due;                 /* the poller will call_pump, and holds a reference until then */
    bool reading_held;                /* by the service */
    bool receive_paused;              /* no receive is on its way, and one is due */
    bool compress;                    /* messages from now on */
    enum rpc_compression compression; /* what the headers allow */
    struct writes writes;
    struct write outgoing; /* of the batch on its way */
    struct metadata headers, trailers;
    int code; /* of the status, with the next two; valid with CALL_ENDED */
    int64_t end_us;
    grpc_slice text;
    void (*on_drained)(void *arg);
    void *on_drained_arg;
    void (*on_cancel)(void *arg);
    void *on_cancel_arg;
    void (*on_half_close)(void *arg);
    void *on_half_close_arg;

    /* --- the service's own --- */
    void *state;
};

/* A fresh call with one reference, from the pool or new. */
struct rpc_call *call_acquire(struct server_poller *poller, const struct method *method);
/* Frees the pool. */
void call_pool_deinit(struct server_poller *poller);
/* Drops the reference of a call that was armed but never accepted. */
void call_abandon(struct rpc_call *call);
/* Starts a batch that holds a reference until its op has run. False when the core refuses, which it does only for
 * defects of ours. */
bool call_start(struct rpc_call *call, const grpc_op *ops, size_t n, struct op *op, op_fn *fn);
/* Starts waiting for the end of an accepted call: now, or with its answer, or when it turns out to take long. */
void call_watch(struct rpc_call *call);
void call_watch_later(struct rpc_call *call);
/* After call_watch_later: now. Else does nothing. Lock held. */
void call_watch_now(struct rpc_call *call);
/* After call_watch_later: takes the call off the list. Its `watch` becomes another one. */
void call_unlist(struct rpc_call *call);
/* Starts the next batch of sends if there is something to send and none is on its way. Lock held, poller's thread. */
void call_pump(struct rpc_call *call);
/* call_pump, by the poller's thread; `call` has a reference of the caller's, or more. Lock held, any thread. Returns
 * whether the poller is to be woken once the lock is released, by call_wake. */
bool call_pump_soon(struct rpc_call *call);
/* The call must have a reference of the caller's: it keeps the poller. */
void call_wake(struct rpc_call *call);
/* A poller's work: sends what other threads have given to calls. */
bool call_pump_some(struct poller *poller);
/* A poller's tick: watches those that take long. */
int call_tick(struct poller *poller);
/* Ends the call with a text; formatted as printf does. */
void call_refuse(struct rpc_call *call, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The closure that service functions get; closure_data is the call. */
void call_respond(const ProtobufCMessage *message, void *closure_data);
bool call_has_ended(struct rpc_call *call);
/* The full name of its service and the short one of its method; "" where there are none. */
const char *call_service_name(const struct rpc_call *call);
const char *call_method_name(const struct rpc_call *call);
/* As rpc_call_on_cancel, which says nothing where the call was answered already and fn won't run: false then. */
bool call_on_cancel(struct rpc_call *call, void (*fn)(void *arg), void *arg);
/* After sends: goes on receiving where it had paused because of too many pending writes. Lock held, poller's thread. */
void call_resume_receiving(struct rpc_call *call);

/* The caller that a call counts for, unless rpc_call_set_caller has named one: a hash of the client's address without its
 * port. peer.c */
uint64_t call_address_key(struct rpc_call *call);

/* Asks the core for the next call of a method (NULL: of all that don't exist) on the poller's queue. */
void call_arm(struct server_poller *poller, const struct method *method);
/* Ends the streams of own services; later ones are refused. */
void call_close_own_streams(struct rpc_server *server);

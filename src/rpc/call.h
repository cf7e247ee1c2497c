/* SPDX-License-Identifier: Apache-2.0 */
/* One call on the server: its state, and what the files that work on it offer each other.
 *
 *   receive.c        accepts calls, and hands requests to services
 *   call.c           a call's life, its answers, sending
 *   poller_calls.c   a poller's lists of calls: to be pumped, to be watched
 *   call_service.c   what a service reads and sets
 *   taken.c          calls that the edge takes, and the core does not know
 *   peer.c           the client's address and names
 *
 * These files are one state machine and use each other: a message that was sent lets receiving go on (flow control),
 * and a message that was received may be answered at once.
 *
 * Life (enum call_life). A call object belongs to one poller and is used again and again:
 *
 *   armed      it waits in the core for a client
 *   accepted   it counts as in flight
 *   ended      its answer was given: the first of respond, finish, fail
 *
 * When its last reference is gone, the object goes back to the pool. The service has a reference from accept to end,
 * each batch in the core has one, and rpc_call_ref adds one.
 *
 * Watching. The close batch reports that the core is done with a call, or has cancelled it. As a batch of its own it
 * costs a tenth of a call, and most unary calls are answered before their client would cancel them. So unary calls are
 * unwatched at first: their close is part of the batch with the answer. A call that takes longer than WATCH_AFTER_MS,
 * or that sets a cancel function, gets a close batch of its own. The poller finds the slow ones in its list of
 * unwatched calls.
 *
 * Threads. All ops of a call run on its poller's thread. Services answer from any thread, and the poller's thread
 * passes the answers to the core: so one thread uses the core's locks, and the answers of a batch go out together.
 * `lock` guards the fields named below. It is held while sends are started, which keeps them in order, and never while
 * the service's code runs.
 *
 * Cancelling. The close batch reports it. Nothing is sent from then on, and the service's cancel function runs unless
 * the call has ended. Another thread may answer just before that function runs, or while it does. The call outlives
 * both, and the answer is dropped. */
#pragma once

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "edge/early.h"
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
    CALL_ENDED,    /* its answer was given; only the bridge and the core still use it */
};

/* How the call waits for its close. Guarded by the call's lock. */
enum call_watch {
    WATCH_NONE,        /* not accepted yet */
    WATCH_LATER,       /* on the poller's list of unwatched calls */
    WATCH_WITH_STATUS, /* the close is part of the batch with the answer */
    WATCH_STARTED,     /* the close batch is on its way, or back */
};

/* How much of the answer the core was given. It only grows. Guarded by the call's lock. */
enum call_sent {
    SENT_NOTHING,
    SENT_HEADERS_WANTED, /* the service wants the headers to go out before any message */
    SENT_HEADERS,        /* the core has the headers; messages may follow */
    SENT_STATUS,         /* the core has the status; nothing follows */
    SENT_BROKEN,         /* a send failed: nothing follows */
};

/* The fields are ordered by what guards them. */
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
    struct rpc_call *older, *younger; /* in the list of unwatched calls (WATCH_LATER) */
    struct rpc_call *next_pump;       /* in the list of calls that other threads have given something to send */

    /* --- guarded by the server's lock: the open streams of the bridge's own services --- */
    struct rpc_call *own_previous, *own_next;
    bool is_own_stream; /* the call is on that list */

    /* --- written by the poller's thread before the service sees the call; then read-only --- */
    const struct method *method; /* NULL: the method does not exist */
    grpc_call *core;
    gpr_timespec deadline;
    grpc_call_details details; /* where `method` is NULL */
    grpc_metadata_array metadata;
    int64_t start_us, deadline_us; /* of clock_mono_us */
    struct caller *caller;         /* whose limits it counts for; NULL: there are no limits */
    uint64_t caller_key;           /* 0: the client's address is the caller */
    int64_t subject;
    rpc_call_end_fn *on_end; /* NULL: none */
    void *on_end_arg;
    bool is_taken; /* by the edge; the core does not know it (taken.h) */
    bool is_own;   /* its service comes with the bridge */
    bool is_late;  /* it came while the server drains, and counts in the server's `refused` */

    /* --- of the poller's thread: receiving; rpc_call_resume_reading starts a receive on any thread --- */
    struct op accept_op, close_op, receive_op, send_op;
    struct arena arena;         /* the request, rpc_call_alloc */
    struct arena message_arena; /* the current message of a client or bidi stream */
    grpc_byte_buffer *incoming; /* written by the core */
    int was_cancelled;          /* written by the core */
    bool is_large;              /* a message was large or compressed: the arenas are not kept */
    bool is_compressed;         /* the current message came compressed */
    size_t received_bytes;

    /* --- guarded by `lock` --- */
    pthread_mutex_t lock;
    enum call_life life;
    enum call_watch watch;
    enum call_sent sent;
    bool sending;                     /* a batch of sends is on its way */
    bool is_pump_due;                 /* the poller will call_pump, and holds a reference until then */
    bool reading_held;                /* the service has paused reading */
    bool receive_paused;              /* a receive is due, but held back */
    bool compress;                    /* compress messages from now on */
    enum rpc_compression compression; /* the algorithm that the headers name */
    struct writes writes;
    struct write outgoing; /* the message of the batch on its way */
    struct metadata headers, trailers;
    int code; /* with the next two: the status; valid with CALL_ENDED */
    int64_t end_us;
    grpc_slice text;
    void (*on_drained)(void *arg);
    void *on_drained_arg;
    void (*on_cancel)(void *arg);
    void *on_cancel_arg;
    void (*on_half_close)(void *arg);
    void *on_half_close_arg;
    uint8_t *answer; /* of a taken call: its message, with gRPC's prefix */
    size_t answer_len, answer_size;
    bool is_end_told; /* to on_call_end, of a taken call */

    /* --- the edge's --- */
    struct edge_taken taken;

    /* --- the service's own --- */
    void *state;
};

/* A call in its first state, with one reference, from the pool or new. */
struct rpc_call *call_acquire(struct server_poller *poller, const struct method *method);
/* Frees the pool. */
void call_pool_deinit(struct server_poller *poller);
/* Drops the reference of a call that was armed but never accepted. */
void call_abandon(struct rpc_call *call);
/* Starts a batch, which holds a reference until its op has run. False: the core refuses the batch; only a defect of the
 * bridge makes it do so. */
bool call_start(struct rpc_call *call, const grpc_op *ops, size_t n, struct op *op, op_fn *fn);
/* Starts waiting for the close of an accepted call. call_watch: by a batch of its own. call_watch_later: with the
 * answer, or by a batch of its own if the call takes long. */
void call_watch(struct rpc_call *call);
void call_watch_later(struct rpc_call *call);
/* Gives a call with WATCH_LATER a close batch of its own; does nothing for others. Lock held. */
void call_watch_now(struct rpc_call *call);
/* Takes a call with WATCH_LATER off the poller's list. The caller changes `watch`. */
void call_unlist(struct rpc_call *call);
/* Starts the next batch of sends if there is something to send and none is on its way. Lock held, poller's thread. */
void call_pump(struct rpc_call *call);
/* Runs call_pump on the poller's thread, at once or soon. Lock held, and a reference. Any thread. True: the caller
 * calls call_wake after it has released the lock. */
bool call_pump_soon(struct rpc_call *call);
/* Wakes the poller of the call. The caller has a reference, which keeps the poller alive. */
void call_wake(struct rpc_call *call);
/* The `work` of a server's poller: pumps calls that other threads have given something to send. */
bool call_pump_some(struct poller *poller);
/* The `tick` of a server's poller: starts to watch calls that take long. */
int call_tick(struct poller *poller);
/* The text with RPC_UNAVAILABLE for calls that the server refuses or ends because it stops. */
#define STOPPING_TEXT "the server is stopping"
/* Ends the call with an error, whose text is formatted as by printf. */
void call_refuse(struct rpc_call *call, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The closure of service functions; closure_data is the call. */
void call_respond(const ProtobufCMessage *message, void *closure_data);
bool call_has_ended(struct rpc_call *call);
/* Runs the service's cancel function if one is set and the call has not ended. Returns whether it ran. */
bool call_run_on_cancel(struct rpc_call *call);
/* Runs on_call_end and the function of rpc_call_on_end. Once. */
void call_tell_end(const struct rpc_call *call, int code, int64_t end_us);
/* The code to report for a call that was cancelled at this time. */
int call_code_of_cancelled(const struct rpc_call *call, int64_t now_us);
/* Hands a call that the edge took to its service. `bytes` is the request. Poller's thread. */
void call_receive_taken(struct rpc_call *call, const uint8_t *bytes, size_t len);
/* The length of gRPC's prefix of a message. */
#define PREFIX_BYTES 5
/* The full name of the call's service and the short name of its method; "" if the method does not exist. */
const char *call_service_name(const struct rpc_call *call);
const char *call_method_name(const struct rpc_call *call);
/* As rpc_call_on_cancel. False: the call has ended, and fn will not run. */
bool call_on_cancel(struct rpc_call *call, void (*fn)(void *arg), void *arg);
/* Starts the receive that is due, unless something still holds it back. Lock held. Any thread. */
void call_resume_receiving(struct rpc_call *call);

/* Identifies the caller if rpc_call_set_caller has not: a hash of the client's address without its port. Never 0. In
 * peer.c. */
uint64_t call_address_key(struct rpc_call *call);

/* Asks the core for the next call of a method on the poller's queue. NULL: of all methods that do not exist. */
void call_arm(struct server_poller *poller, const struct method *method);
/* Ends the open streams of own services, as if their clients had cancelled them; the status says that the server stops.
 * Later streams are refused. */
void call_close_own_streams(struct rpc_server *server);

/* SPDX-License-Identifier: Apache-2.0 */
/* A poller: a completion queue of the core and the one thread that takes events from it.
 *
 *   op   the tag of an event: a function to run, embedded in the object that the event is about
 *
 * The core's queues order memory between threads in a way that ThreadSanitizer cannot see. So op_arm stores an op's
 * function with release order just before the op is given to the core, and the poller loads it with acquire order when
 * the event comes back. */
#pragma once

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The object of `type` whose field `member` is at `pointer`. */
#define OWNER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct op;
typedef void op_fn(struct op *op, bool ok); /* runs on the poller's thread */
struct op {
    _Atomic(op_fn *) fn;
};

/* Makes all earlier writes visible to fn. Returns the op, for use as a tag. */
static inline void *op_arm(struct op *op, op_fn *fn) {
    atomic_store_explicit(&op->fn, fn, memory_order_release);
    return op;
}

struct poller {
    /* Work besides events; both may be NULL. `work` does some of it and returns whether there was any. `tick` runs
     * before each wait and returns the longest wait in ms: 0 where work is left, -1 for no limit. */
    bool (*work)(struct poller *poller);
    int (*tick)(struct poller *poller);
    grpc_completion_queue *queue;
    pthread_t thread;
    bool running;
    struct op wake_op;
    grpc_channel *alarm;  /* never connects; a watch of its state that ends now is an event at once */
    pthread_mutex_t lock; /* guards what follows */
    bool is_waiting;      /* it waits, or is about to wait, and may not have seen the newest work */
    bool is_waking;       /* an event that ends the wait is on its way */
};

/* The caller sets `work` and `tick`, and zeroes the rest. */
void poller_init(struct poller *poller);
bool poller_start(struct poller *poller, struct err *err);
/* Ends the poller's wait, because there is work. Any thread; the caller keeps the poller alive until this returns. */
void poller_wake(struct poller *poller);
/* Whether the calling thread is the poller's. */
bool poller_is_here(const struct poller *poller);
/* Shuts the queue down, and returns when every operation started on it has run its op. Nothing may be started on the
 * queue any more. Without a running thread, the ops run on the calling thread. */
void poller_drain(struct poller *poller);
void poller_deinit(struct poller *poller); /* after poller_drain */

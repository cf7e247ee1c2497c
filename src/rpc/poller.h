/* SPDX-License-Identifier: Apache-2.0 */
/* A poller: a completion queue of the core and the one thread that takes events from it.
 *
 *   op   what a completion queue hands back: a function, embedded in the object that it is about
 *
 * The core's queues order memory between threads, but by means that a race detector cannot see. So op_arm stores an
 * op's function again with release order just before the op is given to the core, and the poller loads it with acquire
 * order when it comes back. */
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

/* Makes everything written before visible to fn. Returns the op, as a tag. */
static inline void *op_arm(struct op *op, op_fn *fn) {
    atomic_store_explicit(&op->fn, fn, memory_order_release);
    return op;
}

struct poller {
    /* What there is to do besides events; both may be NULL. `work` does what there is, and returns whether there was
     * any. `tick` comes before waiting, and returns for how many ms at most: 0 where there is work, -1 for ever. */
    bool (*work)(struct poller *poller);
    int (*tick)(struct poller *poller);
    grpc_completion_queue *queue;
    pthread_t thread;
    bool running;
    struct op wake_op;
    grpc_channel *alarm;  /* leads nowhere: that it does not change until now is an event at once */
    pthread_mutex_t lock; /* guards what follows */
    bool is_waiting;      /* or about to: there may be work that it has not seen */
    bool is_waking;       /* an event that ends the wait is on its way */
};

/* Zeroed but for `work` and `tick`. */
void poller_init(struct poller *poller);
bool poller_start(struct poller *poller, struct err *err);
/* There is work for it. Any thread; the poller must stay until this returns. */
void poller_wake(struct poller *poller);
/* Whether this thread is its. */
bool poller_is_here(const struct poller *poller);
/* Nothing may be started on the queue from now on. Returns when what was started has been handed to its op; without a
 * running thread the caller's is used. */
void poller_drain(struct poller *poller);
void poller_deinit(struct poller *poller); /* after poller_drain */

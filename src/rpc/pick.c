/* SPDX-License-Identifier: Apache-2.0 */
/* Picks an address for each call of a channel.
 *
 * The core has no target for several names. So a channel with a list of addresses has a core channel for each of them,
 * which looks its name up, connects, and does both again after a failure. Calls take the ready ones in turn. While none
 * is ready, a call waits until one is, until all have failed, or until its deadline. The core does the same among the
 * addresses of one name. No event of the core tells that one of several channels is ready, so while calls wait, a tick
 * reads the states.
 *
 * The channel's `pick_lock` guards the list of these calls. A thread may take it while it holds a call's lock, but not
 * the other way round. */
#include "rpc/pick.h"

#include "rpc/operation.h"

#define TICK_MS 10

/* The lock is held. Connects channels that are idle. */
static int pick(struct rpc_channel *channel, bool wait_for_ready) {
    unsigned n = channel->n_cores, n_failed = 0;
    int next = NO_CORE;
    for (unsigned i = 0; i < n; i++) {
        unsigned core = (channel->next_core + i) % n;
        grpc_connectivity_state state = grpc_channel_check_connectivity_state(channel->cores[core], 1);
        if (state == GRPC_CHANNEL_READY) {
            channel->next_core = core + 1;
            return (int)core;
        }
        if (i == 0)
            next = (int)core;
        n_failed += state == GRPC_CHANNEL_TRANSIENT_FAILURE;
    }
    if (n_failed < n || wait_for_ready)
        return NO_CORE;
    channel->next_core++;
    return next;
}

static op_fn on_tick;

/* The lock is held. */
static void start_tick(struct rpc_channel *channel) {
    struct poller *poller = channel->pollers[0].base;
    gpr_timespec end = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(TICK_MS, GPR_TIMESPAN));
    channel->is_ticking = true;
    grpc_channel_watch_connectivity_state(poller->alarm, GRPC_CHANNEL_TRANSIENT_FAILURE, end, poller->queue,
                                          op_arm(&channel->tick_op, on_tick));
}

/* Begins the calls of a list that have left the channel's. */
static void resume_all(struct operation *list) {
    while (list) {
        struct operation *operation = list;
        list = operation->next_waiting;
        operation_resume(operation);
    }
}

static void on_tick(struct op *op, bool ok) {
    (void)ok;
    struct rpc_channel *channel = OWNER_OF(op, struct rpc_channel, tick_op);
    gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);
    struct operation *due = NULL; /* the oldest first, while the channel's list has the newest first */
    pthread_mutex_lock(&channel->pick_lock);
    for (struct operation **at = &channel->waiting; *at;) {
        struct operation *operation = *at;
        int core = pick(channel, operation->call->wait_for_ready);
        if (core == NO_CORE && gpr_time_cmp(operation->deadline, now) > 0) {
            at = &operation->next_waiting;
            continue;
        }
        operation->core_index = core == NO_CORE ? 0 : (unsigned)core; /* any core ends a call whose deadline is over */
        *at = operation->next_waiting;
        operation->next_waiting = due;
        due = operation;
    }
    channel->is_ticking = false;
    if (channel->waiting)
        start_tick(channel);
    pthread_mutex_unlock(&channel->pick_lock);
    resume_all(due);
}

int pick_core(struct operation *operation) {
    struct rpc_channel *channel = operation->channel;
    if (channel->n_cores == 1)
        return 0;
    pthread_mutex_lock(&channel->pick_lock);
    /* A call that begins while the channel ends is cancelled, wherever that may be. */
    int core = atomic_load(&channel->is_closing) ? 0 : pick(channel, operation->call->wait_for_ready);
    if (core == NO_CORE) {
        operation->next_waiting = channel->waiting;
        channel->waiting = operation;
        if (!channel->is_ticking)
            start_tick(channel);
    }
    pthread_mutex_unlock(&channel->pick_lock);
    return core;
}

bool pick_withdraw(struct operation *operation) {
    struct rpc_channel *channel = operation->channel;
    pthread_mutex_lock(&channel->pick_lock);
    struct operation **at = &channel->waiting;
    while (*at && *at != operation)
        at = &(*at)->next_waiting;
    bool found = *at != NULL;
    if (found)
        *at = operation->next_waiting;
    pthread_mutex_unlock(&channel->pick_lock);
    return found;
}

void pick_end(struct rpc_channel *channel) {
    pthread_mutex_lock(&channel->pick_lock);
    struct operation *all = channel->waiting;
    channel->waiting = NULL;
    for (struct operation *each = all; each; each = each->next_waiting)
        each->core_index = 0;
    pthread_mutex_unlock(&channel->pick_lock);
    resume_all(all);
}

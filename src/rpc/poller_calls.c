/* SPDX-License-Identifier: Apache-2.0 */
/* What a poller does for its calls between events: it sends what other threads have given to them, and starts to watch
 * calls that take long. The poller has a list for each. Its lock guards both lists, and is taken inside of a call's. */
#include "base/clock.h"
#include "rpc/call.h"

/* A unary call without an answer is watched after this time. Until then its cancellation goes unnoticed. */
#define WATCH_AFTER_MS 50
/* Calls that are pumped for other threads before the next events. */
#define PUMPS_PER_TURN 128

/* --- sending for other threads --- */

/* The pollers to wake when this thread's batch ends. Each is named by one of its calls, whose reference keeps the
 * poller alive. */
#define TO_WAKE_MAX 16
static _Thread_local struct {
    int depth; /* nested rpc_batch_begin */
    int n;
    struct rpc_call *calls[TO_WAKE_MAX];
} batch;

static bool will_be_woken(const struct server_poller *poller) {
    for (int i = 0; i < batch.n; i++)
        if (batch.calls[i]->poller == poller)
            return true;
    return false;
}

bool call_pump_soon(struct rpc_call *call) {
    struct server_poller *poller = call->poller;
    if (poller_is_here(&poller->base)) {
        call_pump(call);
        return false;
    }
    if (call->is_pump_due)
        return false;
    call->is_pump_due = true;
    rpc_call_ref(call);
    pthread_mutex_lock(&poller->lock);
    call->next_pump = NULL;
    *poller->last_pump = call;
    poller->last_pump = &call->next_pump;
    pthread_mutex_unlock(&poller->lock);
    return !will_be_woken(poller);
}

void call_wake(struct rpc_call *call) {
    if (batch.depth == 0 || batch.n == TO_WAKE_MAX) {
        poller_wake(&call->poller->base);
    } else {
        rpc_call_ref(call);
        batch.calls[batch.n++] = call;
    }
}

void rpc_batch_begin(void) {
    batch.depth++;
}

void rpc_batch_end(void) {
    if (--batch.depth > 0)
        return;
    while (batch.n > 0) {
        struct rpc_call *call = batch.calls[--batch.n];
        poller_wake(&call->poller->base);
        rpc_call_unref(call);
    }
}

static struct rpc_call *take_pump(struct server_poller *poller) {
    pthread_mutex_lock(&poller->lock);
    struct rpc_call *call = poller->first_pump;
    if (call) {
        poller->first_pump = call->next_pump;
        poller->last_pump = call->next_pump ? poller->last_pump : &poller->first_pump;
    }
    pthread_mutex_unlock(&poller->lock);
    return call;
}

bool call_pump_some(struct poller *base) {
    struct server_poller *poller = OWNER_OF(base, struct server_poller, base);
    struct rpc_call *call;
    int n = 0;
    while (n < PUMPS_PER_TURN && (call = take_pump(poller))) {
        n++;
        pthread_mutex_lock(&call->lock);
        call->is_pump_due = false;
        call_pump(call);
        pthread_mutex_unlock(&call->lock);
        rpc_call_unref(call);
    }
    return n > 0;
}

/* --- watching later --- */

void call_watch_later(struct rpc_call *call) {
    struct server_poller *poller = call->poller;
    call->watch = WATCH_LATER; /* without the call's lock: no other thread knows the call yet */
    pthread_mutex_lock(&poller->lock);
    call->younger = NULL;
    call->older = poller->youngest;
    *(call->older ? &call->older->younger : &poller->oldest) = call;
    poller->youngest = call;
    pthread_mutex_unlock(&poller->lock);
}

void call_unlist(struct rpc_call *call) {
    struct server_poller *poller = call->poller;
    pthread_mutex_lock(&poller->lock);
    *(call->older ? &call->older->younger : &poller->oldest) = call->younger;
    *(call->younger ? &call->younger->older : &poller->youngest) = call->older;
    pthread_mutex_unlock(&poller->lock);
}

void call_watch_now(struct rpc_call *call) {
    if (call->watch != WATCH_LATER)
        return;
    call_unlist(call);
    call_watch(call);
}

/* The oldest unwatched call, with a reference, if it began before `before_us`; else NULL. *ret_wait_us: the time in us
 * until the oldest one is due; -1 if there is none. */
static struct rpc_call *take_slow(struct server_poller *poller, int64_t before_us, int64_t *ret_wait_us) {
    pthread_mutex_lock(&poller->lock);
    struct rpc_call *call = poller->oldest;
    *ret_wait_us = call ? call->start_us - before_us : -1;
    if (call && *ret_wait_us <= 0)
        rpc_call_ref(call);
    else
        call = NULL;
    pthread_mutex_unlock(&poller->lock);
    return call;
}

int call_tick(struct poller *base) {
    struct server_poller *poller = OWNER_OF(base, struct server_poller, base);
    struct rpc_call *call;
    pthread_mutex_lock(&poller->lock);
    bool is_pump_due = poller->first_pump != NULL;
    pthread_mutex_unlock(&poller->lock);
    int64_t wait_us, now_us = clock_mono_us();
    while ((call = take_slow(poller, now_us - WATCH_AFTER_MS * US_PER_MS, &wait_us))) {
        pthread_mutex_lock(&call->lock);
        call_watch_now(call); /* does nothing if the call was answered meanwhile */
        pthread_mutex_unlock(&call->lock);
        rpc_call_unref(call);
    }
    if (is_pump_due)
        return 0;
    return wait_us < 0 ? -1 : (int)(wait_us / US_PER_MS) + 1;
}

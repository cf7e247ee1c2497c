/* SPDX-License-Identifier: Apache-2.0 */
/* A completion queue and its thread. The thread ends when the queue has been shut down and everything started on it has
 * come back. So no op is lost, and none runs after poller_drain. */
#include "rpc/poller.h"
#include "base/heart.h"
#include "base/thread.h"
#include "edge/edge.h"

/* The most events in a batch. Answers go out at the end of a batch, however many events still wait. */
#define EVENTS_AT_ONCE 256
/* Events between two turns of other work. */
#define EVENTS_PER_TURN 32

static gpr_timespec time_in(int ms) {
    return ms < 0 ? gpr_inf_future(GPR_CLOCK_MONOTONIC)
                  : gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

static _Thread_local const struct poller *here;

bool poller_is_here(const struct poller *poller) {
    return here == poller;
}

static void on_woken(struct op *op, bool ok) {
    struct poller *poller = OWNER_OF(op, struct poller, wake_op);
    (void)ok;
    pthread_mutex_lock(&poller->lock);
    poller->is_waking = false;
    pthread_mutex_unlock(&poller->lock);
}

void poller_wake(struct poller *poller) {
    pthread_mutex_lock(&poller->lock);
    bool wake = poller->is_waiting && !poller->is_waking;
    if (wake)
        poller->is_waking = true;
    pthread_mutex_unlock(&poller->lock);
    /* The core rounds deadlines up to whole ms, so it would leave one that is now to its timer's thread. */
    if (wake)
        grpc_channel_watch_connectivity_state(poller->alarm, GRPC_CHANNEL_TRANSIENT_FAILURE,
                                              gpr_inf_past(GPR_CLOCK_MONOTONIC), poller->queue,
                                              op_arm(&poller->wake_op, on_woken));
}

static void set_waiting(struct poller *poller, bool is_waiting) {
    pthread_mutex_lock(&poller->lock);
    poller->is_waiting = is_waiting;
    pthread_mutex_unlock(&poller->lock);
}

/* Waits for an event. A time-out means that other work may be due. */
static grpc_event wait_for_event(struct poller *poller) {
    set_waiting(poller, true);
    int ms = poller->tick ? poller->tick(poller) : -1;
    bool is_server = poller->tick != NULL;
    int most_ms = !edge_batch_retry() ? EDGE_RETRY_MS : is_server ? EDGE_WAIT_MS : -1;
    if (most_ms >= 0 && (ms < 0 || ms > most_ms))
        ms = most_ms;
    if (is_server)
        edge_poller_waits();
    grpc_event event = grpc_completion_queue_next(poller->queue, time_in(ms), NULL);
    set_waiting(poller, false);
    return event;
}

static void work_on_event(const grpc_event *event) {
    struct op *op = event->tag;
    atomic_load_explicit(&op->fn, memory_order_acquire)(op, event->success != 0);
}

/* Works on this event and on all that is ready without waiting, as one batch. Events and other work take turns, so that
 * neither waits for the other to end. False: the queue has been shut down, and is empty. */
static bool work_on(struct poller *poller, grpc_event event) {
    edge_batch_begin();
    for (int i = 1; event.type != GRPC_QUEUE_SHUTDOWN; i++) {
        bool is_event = event.type == GRPC_OP_COMPLETE, has_worked = false;
        if (is_event)
            work_on_event(&event);
        if (poller->work && (!is_event || i % EVENTS_PER_TURN == 0))
            has_worked = poller->work(poller);
        if ((!is_event && !has_worked) || i == EVENTS_AT_ONCE)
            break;
        event = grpc_completion_queue_next(poller->queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
    }
    edge_batch_end();
    return event.type != GRPC_QUEUE_SHUTDOWN;
}

static void *run(void *arg) {
    struct poller *poller = arg;
    struct heart *heart = poller->tick ? heart_new("rpc-poller") : NULL; /* of a server, whose waits are short */
    here = poller;
    do
        heart_work(heart);
    while (work_on(poller, wait_for_event(poller)));
    here = NULL;
    heart_free(heart);
    return NULL;
}

void poller_init(struct poller *poller) {
    *poller = (struct poller){
        .work = poller->work,
        .tick = poller->tick,
        .queue = grpc_completion_queue_create_for_next(NULL),
        .alarm = grpc_lame_client_channel_create("", GRPC_STATUS_UNAVAILABLE, ""),
    };
    pthread_mutex_init(&poller->lock, NULL);
}

bool poller_start(struct poller *poller, struct err *err) {
    poller->running = thread_start("rpc-poller", run, poller, &poller->thread, err);
    return poller->running;
}

void poller_drain(struct poller *poller) {
    grpc_completion_queue_shutdown(poller->queue);
    if (poller->running)
        pthread_join(poller->thread, NULL);
    else
        run(poller);
    poller->running = false;
}

void poller_deinit(struct poller *poller) {
    grpc_channel_destroy(poller->alarm);
    pthread_mutex_destroy(&poller->lock);
    grpc_completion_queue_destroy(poller->queue);
}

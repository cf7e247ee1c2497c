/* A completion queue and its thread. The thread ends when the queue was shut down and everything started on it has come
 * back, so no op is ever lost and none runs after poller_drain. */
#include <string.h>

#include "rpc/internal.h"

/* Events that are worked on before what has been answered goes out, should there be no end of them. */
#define EVENTS_AT_ONCE 256
/* How long clients that do not read are left alone. */
#define STUCK_RETRY_MS 5

static gpr_timespec time_in(int ms) {
    return ms < 0 ? gpr_inf_future(GPR_CLOCK_MONOTONIC)
                  : gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

/* Waits for an event, however long it takes. */
static grpc_event wait_for_event(struct poller *poller) {
    for (;;) {
        int ms = poller->tick ? poller->tick(poller) : -1;
        if (!cork_retry() && (ms < 0 || ms > STUCK_RETRY_MS))
            ms = STUCK_RETRY_MS;
        gpr_timespec until = time_in(ms);
        grpc_event event = grpc_completion_queue_next(poller->queue, until, NULL);
        if (event.type != GRPC_QUEUE_TIMEOUT)
            return event;
    }
}

/* Works on this event and on those that are there without waiting, as one batch. False: there will be no more. */
static bool work_on(struct poller *poller, grpc_event event) {
    rpc_batch_begin();
    for (int i = 0; event.type == GRPC_OP_COMPLETE; i++) {
        struct op *op = event.tag;
        atomic_load_explicit(&op->fn, memory_order_acquire)(op, event.success != 0);
        if (i == EVENTS_AT_ONCE)
            break;
        event = grpc_completion_queue_next(poller->queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
    }
    rpc_batch_end();
    return event.type != GRPC_QUEUE_SHUTDOWN;
}

static void *run(void *arg) {
    struct poller *poller = arg;
    while (work_on(poller, wait_for_event(poller)))
        ;
    return NULL;
}

void poller_init(struct poller *poller) {
    *poller = (struct poller){.tick = poller->tick, .queue = grpc_completion_queue_create_for_next(NULL)};
}

bool poller_start(struct poller *poller, struct err *err) {
    int failed = pthread_create(&poller->thread, NULL, run, poller);
    if (failed)
        return err_set(err, ERR_INTERNAL, BACKEND_NONE, "cannot start a thread: %s", strerror(failed));
    poller->running = true;
    pthread_setname_np(poller->thread, "rpc-poller");
    return true;
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
    grpc_completion_queue_destroy(poller->queue);
}

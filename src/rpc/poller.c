/* A completion queue and its thread. The thread ends when the queue was shut down and everything started on it has come
 * back, so no op is ever lost and none runs after poller_drain. */
#include <string.h>

#include "rpc/internal.h"

static void *run(void *arg) {
    struct poller *poller = arg;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(poller->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            struct op *op = event.tag;
            atomic_load_explicit(&op->fn, memory_order_acquire)(op, event.success != 0);
        }
    }
}

void poller_init(struct poller *poller) {
    *poller = (struct poller){.queue = grpc_completion_queue_create_for_next(NULL)};
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

/* SPDX-License-Identifier: Apache-2.0 */
/* A minimal echo server on the C core alone: it sends the received bytes back without decoding or checking them, and
 * sends a whole answer as one batch. With --watch it also asks the core to report calls that end early, as C++ servers
 * and the bridge's servers do. */
#include <grpc/byte_buffer.h>
#include <stdbool.h>
#include <string.h>

#include "rpc/core.h"
#include "rpc_echo.h"

#define CALLS 64 /* calls that wait for clients at a time */

struct call;
struct step {
    void (*fn)(struct call *call);
    struct call *call;
};

struct call {
    grpc_call *core;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *message;
    struct step accepted, closed, answered;
    int was_cancelled, left; /* steps to come */
};

static grpc_server *server;
static grpc_completion_queue *queue;
static void *method;
static bool watch, stopping;

static void accept_next(struct call *call) {
    grpc_metadata_array_init(&call->metadata);
    call->message = NULL;
    grpc_server_request_registered_call(server, method, &call->core, &call->deadline, &call->metadata, &call->message,
                                        queue, queue, &call->accepted);
}

static void on_step(struct call *call) {
    if (--call->left > 0)
        return;
    grpc_metadata_array_destroy(&call->metadata);
    if (call->message)
        grpc_byte_buffer_destroy(call->message);
    grpc_call_unref(call->core);
    accept_next(call);
}

static void on_accepted(struct call *call) {
    echo_count();
    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    close.data.recv_close_on_server.cancelled = &call->was_cancelled;
    grpc_op answer[4] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
        close,
    };
    answer[1].data.send_message.send_message = call->message;
    call->left = watch ? 2 : 1;
    if (watch)
        grpc_call_start_batch(call->core, &close, 1, &call->closed, NULL);
    grpc_call_start_batch(call->core, answer, watch ? 3 : 4, &call->answered, NULL);
}

static void *poll(void *arg) {
    (void)arg;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        struct step *step = event.tag;
        if (step && (event.success || step != &step->call->accepted) && !__atomic_load_n(&stopping, __ATOMIC_RELAXED))
            step->fn(step->call);
    }
}

int main(int argc, char **argv) {
    watch = argc > 1 && strcmp(argv[1], "--watch") == 0;
    sigset_t signals;
    echo_block_signals(&signals);
    grpc_init();
    grpc_arg room[] = {
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_MAX_CONCURRENT_STREAMS, .value.integer = ECHO_STREAMS_MAX},
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_ENABLE_CHANNELZ, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_ALLOW_REUSEPORT, .value.integer = 0},
    };
    grpc_channel_args args = {.num_args = sizeof room / sizeof *room, .args = room};
    server = grpc_server_create(&args, NULL);
    queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server, queue, NULL);
    method =
        grpc_server_register_method(server, "/toy.v1.Toy/Echo", NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server, "127.0.0.1:0", credentials);
    grpc_server_credentials_release(credentials);
    if (!port)
        return 1;
    grpc_server_start(server);
    static struct call calls[CALLS];
    for (int i = 0; i < CALLS; i++) {
        calls[i].accepted = (struct step){on_accepted, &calls[i]};
        calls[i].closed = calls[i].answered = (struct step){on_step, &calls[i]};
        accept_next(&calls[i]);
    }
    pthread_t poller;
    if (pthread_create(&poller, NULL, poll, NULL))
        return 1;
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    echo_serve(&signals, address);
    /* Calls in flight are not released, because the process ends. */
    __atomic_store_n(&stopping, true, __ATOMIC_RELAXED);
    return 0;
}

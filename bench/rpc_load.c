/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_load ADDRESS SECONDS CONNECTIONS IN_FLIGHT: calls toy.v1.Toy/Echo, with IN_FLIGHT calls at a time on each
 * connection, and then prints a line of JSON: calls, seconds, failures. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "rpc/client.h"
#include "toy.pb-c.h"

static const struct rpc_method METHODS[] = {
    {"Echo", RPC_UNARY},
    {"List", RPC_SERVER_STREAM},
    {"Collect", RPC_CLIENT_STREAM},
    {"Chat", RPC_BIDI_STREAM},
};

/* About as large as a request for a coupon. */
static Toy__V1__Note note = TOY__V1__NOTE__INIT;

static atomic_bool stopping;
static _Atomic int64_t n_calls, n_failed, n_active;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

static void begin(struct rpc_client_call *call);

static void on_message(const Toy__V1__Note *message, void *closure_data) {
    if (!message || message->number != note.number || strcmp(message->text, note.text) != 0)
        atomic_fetch_add(&n_failed, 1);
    (void)closure_data;
}

static void on_done(struct rpc_client_call *call, const struct rpc_status *status) {
    atomic_fetch_add_explicit(&n_calls, 1, memory_order_relaxed);
    if (status->code != RPC_OK)
        atomic_fetch_add(&n_failed, 1);
    if (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        begin(call);
        return;
    }
    pthread_mutex_lock(&lock);
    n_active--;
    pthread_cond_signal(&ended);
    pthread_mutex_unlock(&lock);
}

static void begin(struct rpc_client_call *call) {
    ProtobufCService *stub = call->arg;
    *call = (struct rpc_client_call){.timeout_ms = 10000, .wait_for_ready = true, .done = on_done, .arg = stub};
    toy__v1__toy__echo(stub, &note, on_message, call);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: %s ADDRESS SECONDS CONNECTIONS IN_FLIGHT\n", argv[0]);
        return 2;
    }
    double seconds = strtod(argv[2], NULL);
    size_t n_channels = strtoul(argv[3], NULL, 10), in_flight = strtoul(argv[4], NULL, 10);
    note.text = "0123456789abcdef0123456789abcdef";
    note.number = 1234567;
    struct rpc_channel **channels = memory_new(n_channels, sizeof *channels);
    struct rpc_client_call *calls = memory_new(n_channels * in_flight, sizeof *calls);
    struct err err;
    n_active = (int64_t)(n_channels * in_flight);
    int64_t begin_us = clock_mono_us();
    for (size_t c = 0; c < n_channels; c++) {
        if (!rpc_channel_new(argv[1], &(struct rpc_channel_options){0}, &channels[c], &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        ProtobufCService *stub =
            rpc_channel_service(channels[c], &toy__v1__toy__descriptor, METHODS, sizeof METHODS / sizeof *METHODS);
        for (size_t i = 0; i < in_flight; i++) {
            struct rpc_client_call *call = &calls[c * in_flight + i];
            call->arg = stub;
            begin(call);
        }
    }
    struct timespec pause = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&pause, NULL);
    int64_t done = atomic_load(&n_calls), us = clock_mono_us() - begin_us;
    atomic_store(&stopping, true);
    pthread_mutex_lock(&lock);
    while (n_active > 0)
        pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
    printf("{\"calls\":%jd,\"seconds\":%.6f,\"all_calls\":%jd,\"failed\":%jd}\n", (intmax_t)done, (double)us / US_PER_S,
           (intmax_t)atomic_load(&n_calls), (intmax_t)atomic_load(&n_failed));
    for (size_t c = 0; c < n_channels; c++)
        rpc_channel_free(channels[c]);
    free(channels);
    free(calls);
    return n_failed ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How a server stops. */
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "raw.h"
#include "rpc/call.h"
#include "toy.h"

struct stopping {
    struct toy *toy;
    int64_t grace_ms;
    atomic_bool hurry;
    atomic_bool is_done;
    pthread_t thread;
};

static void *stop(void *arg) {
    struct stopping *stopping = arg;
    rpc_server_stop(stopping->toy->server, stopping->grace_ms, &stopping->hurry);
    atomic_store(&stopping->is_done, true);
    return NULL;
}

static void begin(struct stopping *stopping, struct toy *toy, int64_t grace_ms) {
    stopping->toy = toy;
    stopping->grace_ms = grace_ms;
    atomic_store(&stopping->hurry, false);
    atomic_init(&stopping->is_done, false);
    cr_assert_eq(pthread_create(&stopping->thread, NULL, stop, stopping), 0);
}

/* Calls until new calls are refused. The calls have a deadline because the core may lose a call that comes while it
 * shuts down (server.c). */
static void wait_until_closed(struct toy *toy) {
    int64_t until_us = clock_mono_us() + (int64_t)TOY_WAIT_MS * US_PER_MS;
    for (int code = RPC_OK; code == RPC_OK;) {
        cr_assert_lt(clock_mono_us(), until_us);
        struct toy_call *call = toy_call_start(toy, TOY_ECHO, "still there?", 0, 1000);
        toy_call_wait(call);
        code = call->code;
        toy_call_free(call);
    }
}

Test(stop, an_idle_server_stops_at_once) {
    struct toy *toy = toy_new(NULL);
    toy_call_free(toy_call_run(toy, TOY_ECHO, "", 0));
    int64_t start_us = clock_mono_us();
    rpc_server_stop(toy->server, 600000, NULL);
    cr_assert_lt(clock_mono_us() - start_us, 10 * US_PER_S);
    toy_free(toy);
}

Test(stop, calls_in_flight_are_finished_within_the_grace_period) {
    struct toy *toy = toy_new(NULL);
    struct toy_call *unary = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
    struct toy_held *held_unary = toy_take_held(toy);
    struct toy_call *stream = toy_call_start(toy, TOY_LIST, "hold", 0, 0);
    struct toy_held *held_stream = toy_take_held(toy);
    struct stopping stopping;
    begin(&stopping, toy, 600000);
    wait_until_closed(toy);
    cr_assert_not(atomic_load(&stopping.is_done));
    toy_answer(held_unary, "in time");
    toy_call_wait(unary);
    cr_assert_eq(unary->code, RPC_OK, "%s", unary->message);
    cr_assert_str_eq(unary->text, "in time");
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    held_stream->closure(&note, held_stream->call);
    rpc_call_finish(held_stream->call);
    rpc_call_unref(held_stream->call);
    toy_call_wait(stream);
    cr_assert_eq(stream->code, RPC_OK, "%s", stream->message);
    cr_assert_eq(stream->n_messages, 1);
    pthread_join(stopping.thread, NULL);
    cr_assert_eq(toy_cancels(toy), 0);
    toy_call_free(unary);
    toy_call_free(stream);
    toy_free(toy);
}

Test(stop, calls_that_outlast_the_grace_period_are_cancelled_and_waited_for) {
    struct toy *toy = toy_new(NULL);
    struct toy_call *call = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
    struct toy_held *held = toy_take_held(toy);
    struct toy_call *obedient = toy_call_start(toy, TOY_LIST, "hold-obedient", 0, 0);
    toy_wait_for_in_flight(toy, 2);
    struct stopping stopping;
    begin(&stopping, toy, 50);
    toy_wait_for_cancels(toy, 2);
    toy_call_wait(call);
    toy_call_wait(obedient);
    cr_assert_eq(call->code, RPC_UNAVAILABLE, "%s", call->message);
    cr_assert_not(atomic_load(&stopping.is_done), "its service has not answered yet");
    toy_answer(held, "too late");
    pthread_join(stopping.thread, NULL);
    toy_call_free(call);
    toy_call_free(obedient);
    toy_free(toy);
}

Test(stop, hurry_ends_the_grace_period) {
    struct toy *toy = toy_new(NULL);
    struct toy_call *call = toy_call_start(toy, TOY_ECHO, "hold-obedient", 0, 0);
    toy_wait_for_in_flight(toy, 1);
    struct stopping stopping;
    begin(&stopping, toy, 600000);
    wait_until_closed(toy);
    cr_assert_eq(toy_cancels(toy), 0);
    atomic_store(&stopping.hurry, true);
    pthread_join(stopping.thread, NULL);
    cr_assert_eq(toy_cancels(toy), 1);
    toy_call_wait(call);
    toy_call_free(call);
    toy_free(toy);
}

Test(stop, health_and_reflection_streams_do_not_hold_it_back) {
    struct toy *toy = toy_new(NULL);
    struct raw silent, talking;
    unsigned char bytes[10000];
    raw_open(&silent, rpc_server_address(toy->server), "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
             NULL, NULL);
    raw_open(&talking, rpc_server_address(toy->server), "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
             NULL, NULL);
    raw_send(&talking, "\x3a\x01*", 3);
    cr_assert_gt(raw_receive(&talking, bytes, sizeof bytes), 0);
    struct raw watch;
    raw_open(&watch, rpc_server_address(toy->server), "/grpc.health.v1.Health/Watch", NULL, NULL);
    raw_send(&watch, "", 0);
    cr_assert_eq(raw_receive(&watch, bytes, sizeof bytes), 2);
    toy_wait_for_in_flight(toy, 3);
    struct stopping stopping;
    begin(&stopping, toy, 600000);
    cr_assert_eq(raw_status(&silent), RPC_UNAVAILABLE);
    cr_assert_str_eq(silent.message, "the server is stopping");
    cr_assert_eq(raw_status(&talking), RPC_UNAVAILABLE);
    cr_assert_eq(raw_status(&watch), RPC_UNAVAILABLE);
    cr_assert_str_eq(watch.message, "the server is stopping");
    raw_close(&silent);
    raw_close(&talking);
    raw_close(&watch);
    pthread_join(stopping.thread, NULL);
    rpc_health_set(toy->health, "", true); /* no client is left to be told */
    toy_free(toy);
}

Test(stop, calls_that_arrive_while_it_stops_end_somehow) {
    struct toy *toy = toy_new(NULL);
    enum { CALLS = 200 };
    struct toy_call *calls[CALLS];
    struct stopping stopping;
    for (int i = 0; i < CALLS; i++) {
        calls[i] = toy_call_start(toy, i % 2 ? TOY_ECHO : TOY_LIST, "", 3, 0);
        if (i == CALLS / 4)
            begin(&stopping, toy, 600000);
    }
    for (int i = 0; i < CALLS; i++) {
        toy_call_wait(calls[i]);
        toy_call_free(calls[i]);
    }
    pthread_join(stopping.thread, NULL);
    toy_free(toy);
}

Test(stop, a_stopped_server_may_start_again) {
    struct toy *toy = toy_new(NULL);
    rpc_server_stop(toy->server, 0, NULL);
    struct err err;
    cr_assert(rpc_server_start(toy->server, &err), "%s", err.text);
    char message[1000];
    cr_assert_eq(raw_unary(rpc_server_address(toy->server), "/toy.v1.Toy/Echo", "", 0, message), RPC_OK);
    toy_free(toy);
}

static void read_no_more(const ProtobufCMessage *message, void *closure_data) {
    (void)message;
    rpc_client_call_pause_reading(closure_data);
}

static void post(struct rpc_client_call *call, const struct rpc_status *status) {
    (void)status;
    sem_post(call->arg);
}

static bool is_paused(struct rpc_server *server) {
    pthread_mutex_lock(&server->lock);
    struct rpc_call *call = server->own_streams;
    bool paused = false;
    if (call) {
        pthread_mutex_lock(&call->lock);
        paused = call->receive_paused;
        pthread_mutex_unlock(&call->lock);
    }
    pthread_mutex_unlock(&server->lock);
    return paused;
}

/* While enough responses wait, the server does not read either, so it does not learn that the client has gone. */
Test(stop, a_reflection_client_that_left_without_reading_is_not_waited_for) {
    struct toy *toy = toy_new(NULL);
    static const struct rpc_method methods[] = {{"ServerReflectionInfo", RPC_BIDI_STREAM}};
    ProtobufCService *reflection =
        rpc_channel_service(toy->channel, &grpc__reflection__v1__server_reflection__descriptor, methods, 1);
    Grpc__Reflection__V1__ServerReflectionRequest request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    request.file_containing_symbol = "coupon.v1.CouponService";
    sem_t done;
    sem_init(&done, 0, 0);
    struct rpc_client_call call = {.done = post, .arg = &done};
    rpc_client_call_open(reflection, 0, read_no_more, &call);
    for (int i = 0; i < 20000; i++)
        rpc_client_call_write(&call, &request.base);
    while (!is_paused(toy->server))
        sched_yield(); /* until the test's time limit */
    rpc_client_call_cancel(&call);
    sem_wait(&done);
    sem_destroy(&done);
    toy_wait_for_in_flight(toy, 0);
    toy_free(toy);
}

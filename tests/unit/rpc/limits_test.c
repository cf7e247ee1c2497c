/* SPDX-License-Identifier: Apache-2.0 */
/* Limits on calls: permission, overload, the limits of one caller. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "toy.h"

static struct toy_call *echo(struct toy *toy, const char *text) {
    return toy_call_run(toy, TOY_ECHO, text, 0);
}

static void expect(struct toy *toy, const char *text, int code) {
    struct toy_call *call = echo(toy, text);
    cr_assert_eq(call->code, code, "%s: %s", text, call->message);
    toy_call_free(call);
}

/* --- permission --- */

struct asked {
    int n;
    char service[80], method[80], peer[80], authorization[80];
};

static bool allow_once(void *arg, struct rpc_call *call, const char *service, const char *method) {
    struct asked *asked = arg;
    size_t len = 0;
    const char *value = rpc_call_metadata(call, "authorization", &len);
    snprintf(asked->service, sizeof asked->service, "%s", service);
    snprintf(asked->method, sizeof asked->method, "%s", method);
    snprintf(asked->peer, sizeof asked->peer, "%s", rpc_call_peer(call));
    snprintf(asked->authorization, sizeof asked->authorization, "%.*s", (int)len, value ? value : "");
    cr_assert_null(rpc_call_peer_name(call, 0), "nobody proves a name without TLS");
    if (asked->n == 2)
        rpc_call_fail(call, &(struct rpc_status){.code = RPC_UNAUTHENTICATED, .message = "who are you?"});
    return asked->n++ == 0;
}

Test(limits, a_call_that_is_not_allowed_never_reaches_its_service) {
    struct asked asked = {0};
    struct rpc_server_options options = toy_options(NULL);
    options.allow = allow_once;
    options.allow_arg = &asked;
    struct toy *toy = toy_new(&options);
    expect(toy, "hello", RPC_OK);
    cr_assert_str_eq(asked.service, "toy.v1.Toy");
    cr_assert_str_eq(asked.method, "Echo");
    cr_assert_eq(strncmp(asked.peer, "ipv4:127.0.0.1:", 15), 0, "%s", asked.peer);
    expect(toy, "hold", RPC_PERMISSION_DENIED);
    expect(toy, "hold", RPC_UNAUTHENTICATED);
    struct toy_call *stream = toy_call_open(toy, TOY_CHAT);
    toy_call_wait(stream);
    cr_assert_eq(stream->code, RPC_PERMISSION_DENIED);
    toy_call_free(stream);
    cr_assert_null(toy->held);
    toy_free(toy);
}

/* --- overload --- */

Test(limits, a_call_beyond_those_in_flight_is_refused_at_once_with_a_time_to_wait) {
    struct rpc_server_options options = toy_options(NULL);
    options.max_in_flight = 2;
    struct toy *toy = toy_new(&options);
    struct toy_call *first = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
    struct toy_held *held = toy_take_held(toy);
    struct toy_call *second = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
    struct toy_held *held_second = toy_take_held(toy);
    expect(toy, "too many", RPC_RESOURCE_EXHAUSTED);
    toy_answer(held, "1");
    toy_answer(held_second, "2");
    toy_call_wait(first);
    toy_call_wait(second);
    toy_wait_for_in_flight(toy, 0);
    expect(toy, "room again", RPC_OK);
    toy_call_free(first);
    toy_call_free(second);
    toy_free(toy);
}

struct refused {
    struct rpc_client_call call;
    char pushback[20];
    bool done;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static void on_refused(struct rpc_client_call *call, const struct rpc_status *status) {
    struct refused *refused = (struct refused *)call;
    size_t len = 0;
    const char *value = rpc_client_call_trailer(call, "grpc-retry-pushback-ms", &len);
    pthread_mutex_lock(&refused->lock);
    cr_assert_eq(status->code, RPC_RESOURCE_EXHAUSTED);
    snprintf(refused->pushback, sizeof refused->pushback, "%.*s", (int)len, value ? value : "");
    refused->done = true;
    pthread_cond_broadcast(&refused->changed);
    pthread_mutex_unlock(&refused->lock);
}

static void no_message(const Toy__V1__Note *message, void *arg) {
    (void)arg;
    cr_assert_null(message);
}

Test(limits, a_caller_that_asks_too_fast_is_refused_and_told_when_to_come_back) {
    struct rpc_server_options options = toy_options(NULL);
    options.caller_limits.per_second = 0.001; /* one call, and no further one while the test runs */
    struct toy *toy = toy_new(&options);
    expect(toy, "first", RPC_OK);
    struct refused refused = {
        .call = {.done = on_refused}, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    toy__v1__toy__echo(toy->stub, &note, no_message, &refused);
    TOY_WAIT(&refused, refused.done);
    cr_assert_str_eq(refused.pushback, "1000");
    toy_free(toy);
}

static bool allow_by_text(void *arg, struct rpc_call *call, const char *service, const char *method) {
    (void)arg, (void)service, (void)method;
    size_t len;
    const char *value = rpc_call_metadata(call, "x-caller", &len);
    if (value)
        rpc_call_set_caller(call, (uint64_t)value[0]);
    return true;
}

static struct toy_call *start_as(struct toy *toy, const char *caller) {
    static struct rpc_metadatum who;
    who = (struct rpc_metadatum){"x-caller", caller, 1};
    struct toy_call *call = toy_call_new();
    call->call.metadata = &who;
    call->call.n_metadata = 1;
    toy_call_begin(toy, call, TOY_ECHO, "hold", 0);
    return call;
}

Test(limits, what_one_caller_has_in_flight_is_no_other_callers_loss) {
    struct rpc_server_options options = toy_options(NULL);
    options.caller_limits.in_flight = 1;
    options.allow = allow_by_text;
    struct toy *toy = toy_new(&options);
    struct toy_call *a = start_as(toy, "a");
    struct toy_held *held_a = toy_take_held(toy);
    struct toy_call *more = start_as(toy, "a");
    toy_call_wait(more);
    cr_assert_eq(more->code, RPC_RESOURCE_EXHAUSTED);
    struct toy_call *b = start_as(toy, "b");
    struct toy_held *held_b = toy_take_held(toy);
    toy_answer(held_a, "1");
    toy_answer(held_b, "2");
    toy_call_wait(a);
    toy_call_wait(b);
    cr_assert_eq(a->code, RPC_OK);
    cr_assert_eq(b->code, RPC_OK);
    toy_wait_for_in_flight(toy, 0);
    struct toy_call *again = start_as(toy, "a");
    toy_answer(toy_take_held(toy), "3");
    toy_call_wait(again);
    cr_assert_eq(again->code, RPC_OK);
    toy_call_free(a);
    toy_call_free(b);
    toy_call_free(more);
    toy_call_free(again);
    toy_free(toy);
}

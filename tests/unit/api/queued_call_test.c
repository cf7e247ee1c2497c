/* SPDX-License-Identifier: Apache-2.0 */
#include "api/queued_call.h"

#include <stdlib.h>
#include <string.h>

#include "toy.h"
#include "wire.h"

/* A service whose Echo is a queued call. The test sets what `perform` does before the queue starts. */
struct echo_service {
    struct toy *toy;
    struct wire *wire;
    struct call_queue *queue;
    struct pg *pg;
    struct arena arena;
    bool may_repeat;
    const struct rpc_bad_field *bad; /* the bad field of every call; NULL: none */
    int fails;                       /* the number of calls to perform that fail first */
    enum err_code failure;           /* their error */

    pthread_mutex_t lock; /* guards the fields below */
    pthread_cond_t changed;
    int performed, cancelled;
    bool is_gate_shut; /* perform waits until it opens */
};

struct echo_call {
    struct queued_call base; /* first */
    const Toy__V1__Note *input;
};

static struct echo_service *service;

static bool perform(void *arg, void *item, struct err *err) {
    struct echo_service *own = arg;
    struct echo_call *call = item;
    pthread_mutex_lock(&own->lock);
    int before = own->performed++;
    pthread_cond_broadcast(&own->changed);
    pthread_mutex_unlock(&own->lock);
    TOY_WAIT(own, !own->is_gate_shut);
    if (before < own->fails)
        return err_set(err, own->failure, BACKEND_POSTGRES, "it failed");
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    note.text = call->input->text;
    note.number = pg_is_connected(own->pg);
    queued_call_answer(&call->base, &note.base);
    return true;
}

static void on_cancel(void *arg) {
    struct echo_service *own = arg;
    pthread_mutex_lock(&own->lock);
    own->cancelled++;
    pthread_cond_broadcast(&own->changed);
    pthread_mutex_unlock(&own->lock);
}

static void echo(Toy__V1__Toy_Service *toy, const Toy__V1__Note *input, Toy__V1__Note_Closure closure,
                 void *closure_data) {
    (void)toy;
    struct rpc_bad_fields bad = {0};
    struct echo_call *call = queued_call_new(closure_data, sizeof *call, ANSWER_CLOSURE(closure), perform);
    call->input = input;
    call->base.may_repeat = service->may_repeat;
    if (service->bad)
        bad_fields_check(&bad, false, service->bad->field, service->bad->problem);
    rpc_call_on_cancel(call->base.rpc, on_cancel, service);
    queued_call_enqueue(&call->base, service->queue, &bad);
}

static void set_up(void) {
    service = calloc(1, sizeof *service);
    pthread_mutex_init(&service->lock, NULL);
    pthread_cond_init(&service->changed, NULL);
    arena_init(&service->arena, 4096);
    service->wire = wire_new();
}

/* If `url` is NULL, Postgres answers. */
static void start(const char *url, size_t queue_size) {
    const struct pg_options pg = {.url = url ? url : wire_url(service->wire),
                                  .application_name = "test",
                                  .connect_timeout_s = 5,
                                  .statement_timeout_ms = 5000};
    service->pg = pg_new(&pg);
    const struct call_queue_options options = {.name = "echo",
                                               .failure_event = "echo.failed",
                                               .size = queue_size,
                                               .batch_max = 1,
                                               .bounds_silence = true,
                                               .service = service,
                                               .pg = service->pg,
                                               .arena = &service->arena};
    struct err err = {0};
    cr_assert(call_queue_start(&options, &service->queue, &err), "%s", err.text);
    service->toy = toy_new(NULL);
    service->toy->service.echo = echo;
}

static void tear_down(void) {
    toy_free(service->toy);
    call_queue_stop(service->queue);
    pg_free(service->pg);
    wire_free(service->wire);
    arena_deinit(&service->arena);
    pthread_cond_destroy(&service->changed);
    pthread_mutex_destroy(&service->lock);
    free(service);
}

TestSuite(queued_call, .init = set_up, .fini = tear_down);

static void set_gate(bool is_shut) {
    pthread_mutex_lock(&service->lock);
    service->is_gate_shut = is_shut;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
}

/* Makes one call. Returns its code. */
static int run_one(void) {
    struct toy_call *call = toy_call_run(service->toy, TOY_ECHO, "hello", 0);
    int code = call->code;
    if (code == RPC_OK)
        cr_expect_str_eq(call->text, "hello");
    toy_call_free(call);
    return code;
}

Test(queued_call, a_call_is_performed_with_a_connection_to_postgres) {
    start(NULL, 10);
    struct toy_call *call = toy_call_run(service->toy, TOY_ECHO, "hello", 0);
    cr_assert_eq(call->code, RPC_OK);
    cr_assert_str_eq(call->text, "hello");
    cr_assert_eq(call->number, 1);
    toy_call_free(call);
}

Test(queued_call, a_call_with_bad_fields_is_refused_and_not_performed) {
    static const struct rpc_bad_field bad = {"name", "must not be empty"};
    service->bad = &bad;
    start(NULL, 10);
    struct toy_call *call = toy_call_run(service->toy, TOY_ECHO, "hello", 0);
    cr_assert_eq(call->code, RPC_INVALID_ARGUMENT);
    cr_assert_str_eq(call->message, "name: must not be empty");
    cr_assert_eq(service->performed, 0);
    toy_call_free(call);
}

Test(queued_call, a_full_queue_refuses_a_call_as_overload) {
    struct toy_call *calls[3];
    start(NULL, 1);
    set_gate(true);
    calls[0] = toy_call_start(service->toy, TOY_ECHO, "hello", 0, 0);
    TOY_WAIT(service, service->performed == 1);
    /* One of these calls waits in the queue, and the other one is refused. */
    for (int i = 1; i < 3; i++)
        calls[i] = toy_call_start(service->toy, TOY_ECHO, "hello", 0, 0);
    toy_wait_for_ends(service->toy, RPC_RESOURCE_EXHAUSTED, 1);
    set_gate(false);
    int codes[RPC_CODES] = {0};
    for (int i = 0; i < 3; i++) {
        toy_call_wait(calls[i]);
        codes[calls[i]->code]++;
        toy_call_free(calls[i]);
    }
    cr_assert_eq(codes[RPC_OK], 2);
    cr_assert_eq(codes[RPC_RESOURCE_EXHAUSTED], 1);
}

Test(queued_call, a_call_whose_client_has_gone_is_dropped_before_it_is_performed) {
    start(NULL, 10);
    set_gate(true);
    struct toy_call *first = toy_call_start(service->toy, TOY_ECHO, "hello", 0, 0);
    TOY_WAIT(service, service->performed == 1);
    struct toy_call *gone = toy_call_start(service->toy, TOY_ECHO, "hello", 0, 100);
    toy_call_wait(gone);
    cr_assert_eq(gone->code, RPC_DEADLINE_EXCEEDED);
    TOY_WAIT(service, service->cancelled == 1);
    set_gate(false);
    toy_call_wait(first);
    toy_wait_for_in_flight(service->toy, 0);
    cr_assert_eq(first->code, RPC_OK);
    cr_assert_eq(service->performed, 1);
    toy_call_free(first);
    toy_call_free(gone);
}

Test(queued_call, without_postgres_a_call_is_unavailable_and_not_performed) {
    start("host=127.0.0.1 port=1 sslmode=disable gssencmode=disable user=u dbname=d", 10);
    cr_assert_eq(run_one(), RPC_UNAVAILABLE);
    cr_assert_eq(service->performed, 0);
}

Test(queued_call, a_call_that_may_be_repeated_is_tried_a_second_time_after_a_retriable_failure) {
    service->may_repeat = true;
    service->fails = 1;
    service->failure = ERR_UNAVAILABLE;
    start(NULL, 10);
    cr_assert_eq(run_one(), RPC_OK);
    cr_assert_eq(service->performed, 2);
}

Test(queued_call, a_second_failure_is_answered) {
    service->may_repeat = true;
    service->fails = 2;
    service->failure = ERR_UNAVAILABLE;
    start(NULL, 10);
    cr_assert_eq(run_one(), RPC_UNAVAILABLE);
    cr_assert_eq(service->performed, 2);
}

Test(queued_call, a_call_that_may_not_be_repeated_is_tried_once) {
    service->fails = 1;
    service->failure = ERR_UNAVAILABLE;
    start(NULL, 10);
    cr_assert_eq(run_one(), RPC_UNAVAILABLE);
    cr_assert_eq(service->performed, 1);
}

Test(queued_call, a_failure_that_no_repeat_mends_is_internal_at_once) {
    service->may_repeat = true;
    service->fails = 1;
    service->failure = ERR_REFUSED;
    start(NULL, 10);
    cr_assert_eq(run_one(), RPC_INTERNAL);
    cr_assert_eq(service->performed, 1);
}

Test(queued_call, calls_that_wait_are_all_performed_and_an_idle_queue_stops) {
    struct toy_call *calls[5];
    start(NULL, 10);
    set_gate(true);
    for (int i = 0; i < 5; i++)
        calls[i] = toy_call_start(service->toy, TOY_ECHO, "hello", 0, 0);
    toy_wait_for_in_flight(service->toy, 5);
    TOY_WAIT(service, service->performed == 1);
    set_gate(false);
    for (int i = 0; i < 5; i++) {
        toy_call_wait(calls[i]);
        cr_expect_eq(calls[i]->code, RPC_OK);
        toy_call_free(calls[i]);
    }
    call_queue_stop(service->queue);
    service->queue = NULL;
    cr_assert_eq(service->performed, 5);
    call_queue_stop(NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Unary calls, from client to service and back. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "raw.h"
#include "toy.h"

static struct toy *toy;

static void set_up(void) {
    toy = toy_new(NULL);
}

static void tear_down(void) {
    toy_free(toy);
}

TestSuite(call, .init = set_up, .fini = tear_down);

static const char *address(void) {
    return rpc_server_address(toy->server);
}

Test(call, an_answer_given_at_once_reaches_the_client) {
    struct toy_call *call = toy_call_run(toy, TOY_ECHO, "grüße", 0);
    cr_assert_eq(call->code, RPC_OK, "%s", call->message);
    cr_assert_eq(call->n_messages, 1);
    cr_assert_str_eq(call->text, "grüße");
    toy_call_free(call);
    toy_wait_for_ends(toy, RPC_OK, 1);
    cr_assert_str_eq(toy->last_end, "toy.v1.Toy Echo OK");
}

Test(call, an_answer_given_later_from_another_thread_reaches_the_client) {
    struct toy_call *call = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
    struct toy_held *held = toy_take_held(toy);
    cr_assert_eq(rpc_server_in_flight(toy->server), 1);
    cr_assert_str_eq(held->input->text, "hold", "the input stays valid until the answer");
    toy_answer(held, "at last");
    toy_call_wait(call);
    cr_assert_eq(call->code, RPC_OK);
    cr_assert_str_eq(call->text, "at last");
    toy_call_free(call);
    toy_wait_for_in_flight(toy, 0);
    cr_assert_eq(toy_cancels(toy), 0);
}

Test(call, a_failure_brings_its_code_text_and_details_to_the_client) {
    struct toy_call *call = toy_call_run(toy, TOY_ECHO, "fail", 0);
    cr_assert_eq(call->code, RPC_ABORTED);
    cr_assert_str_eq(call->message, "no");
    cr_assert_eq(call->details_len, TOY_DETAILS_LEN);
    cr_assert_arr_eq(call->details, TOY_DETAILS, TOY_DETAILS_LEN);
    cr_assert_eq(call->n_messages, 0);
    toy_call_free(call);
    toy_wait_for_ends(toy, RPC_ABORTED, 1);
}

Test(call, a_second_answer_changes_nothing) {
    struct toy_call *call = toy_call_run(toy, TOY_ECHO, "twice", 0);
    cr_assert_eq(call->code, RPC_OK);
    cr_assert_eq(call->n_messages, 1);
    cr_assert_str_eq(call->text, "twice");
    toy_call_free(call);
}

Test(call, an_answer_of_nothing_is_an_internal_error) {
    struct toy_call *call = toy_call_run(toy, TOY_ECHO, "null", 0);
    cr_assert_eq(call->code, RPC_INTERNAL);
    cr_assert_str_eq(call->message, "the service gave no toy.v1.Note");
    toy_call_free(call);
}

Test(call, a_service_sees_the_deadline_of_the_client) {
    struct toy_call *call = toy_call_start(toy, TOY_ECHO, "deadline", 0, 60000);
    toy_call_wait(call);
    cr_assert_leq(call->number, 61000 * US_PER_MS, "what goes over the wire is rounded up");
    cr_assert_gt(call->number, 30000 * US_PER_MS);
    toy_call_free(call);
    call = toy_call_run(toy, TOY_ECHO, "no deadline", 0);
    cr_assert_eq(call->number, -1);
    toy_call_free(call);
}

Test(call, a_passed_deadline_cancels_the_call_at_the_service) {
    toy_call_free(toy_call_run(toy, TOY_ECHO, "connect",
                               0)); /* otherwise the deadline may pass before the server hears of the call */
    struct toy_call *call = toy_call_start(toy, TOY_ECHO, "hold", 0, 1000);
    struct toy_held *held = toy_take_held(toy);
    toy_wait_for_cancels(toy, 1);
    cr_assert(rpc_call_is_cancelled(held->call));
    toy_call_wait(call);
    cr_assert_eq(call->code, RPC_DEADLINE_EXCEEDED);
    toy_call_free(call);
    /* which code comes depends on whether the server's clock or the client's reset was first */
    TOY_WAIT(toy, toy->ends[RPC_DEADLINE_EXCEEDED] + toy->ends[RPC_CANCELLED] == 1);
    cr_assert_eq(rpc_server_in_flight(toy->server), 1, "it is in flight until its service answers");
    toy_answer(held, "too late");
    toy_wait_for_in_flight(toy, 0);
    cr_assert_eq(toy_cancels(toy), 1);
}

Test(call, a_cancelling_client_is_told_to_the_service_once) {
    struct toy_call *call = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
    struct toy_held *held = toy_take_held(toy);
    cr_assert_not(rpc_call_is_cancelled(held->call));
    rpc_client_call_cancel(&call->call);
    toy_call_wait(call);
    cr_assert_eq(call->code, RPC_CANCELLED);
    toy_call_free(call);
    toy_wait_for_cancels(toy, 1);
    toy_answer(held, "too late");
    toy_wait_for_in_flight(toy, 0);
    cr_assert_eq(toy_cancels(toy), 1);
    cr_assert_eq(toy->ends[RPC_CANCELLED], 1);
}

static void count_up(void *arg) {
    (*(int *)arg)++;
}

Test(call, a_cancel_function_set_after_the_cancelling_runs_at_once) {
    struct toy_call *call = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
    struct toy_held *held = toy_take_held(toy);
    rpc_client_call_cancel(&call->call);
    toy_call_wait(call);
    toy_wait_for_cancels(toy, 1);
    int ran = 0;
    rpc_call_on_cancel(held->call, count_up, &ran);
    cr_assert_eq(ran, 1);
    toy_answer(held, "");
    toy_call_free(call);
}

Test(call, a_cancel_function_may_answer) {
    struct toy_call *call = toy_call_start(toy, TOY_ECHO, "hold-obedient", 0, 0);
    toy_wait_for_in_flight(toy, 1);
    rpc_client_call_cancel(&call->call);
    toy_call_wait(call);
    toy_call_free(call);
    toy_wait_for_cancels(toy, 1);
    toy_wait_for_in_flight(toy, 0);
}

Test(call, metadata_is_there_by_its_name_and_may_be_binary) {
    struct raw raw;
    raw_open(&raw, address(), "/toy.v1.Toy/Echo", "a value", "\x01\xff\x02");
    raw_send(&raw, "", 0);
    unsigned char bytes[100];
    long len = raw_receive(&raw, bytes, sizeof bytes);
    cr_assert_eq(raw_status(&raw), RPC_OK);
    Toy__V1__Note *note = toy__v1__note__unpack(NULL, (size_t)len, bytes);
    cr_assert_str_eq(note->text, "a value");
    cr_assert_eq(note->blob.len, 3);
    cr_assert_arr_eq(note->blob.data, "\x01\xff\x02", 3);
    toy__v1__note__free_unpacked(note, NULL);
    raw_close(&raw);
}

Test(call, an_unknown_method_is_unimplemented_and_named) {
    char message[1000];
    cr_assert_eq(raw_unary(address(), "/toy.v1.Toy/Nothing", "", 0, message), RPC_UNIMPLEMENTED);
    cr_assert_str_eq(message, "unknown method /toy.v1.Toy/Nothing");
    cr_assert_eq(raw_unary(address(), "/other.Service/Echo", "", 0, message), RPC_UNIMPLEMENTED);
    cr_assert_str_eq(message, "unknown method /other.Service/Echo");
    toy_wait_for_ends(toy, RPC_UNIMPLEMENTED, 2);
    cr_assert_str_eq(toy->last_end, "  UNIMPLEMENTED");
}

Test(call, a_call_without_a_request_is_refused) {
    struct raw raw;
    raw_open(&raw, address(), "/toy.v1.Toy/Echo", NULL, NULL);
    raw_half_close(&raw);
    cr_assert_eq(raw_status(&raw), RPC_INVALID_ARGUMENT);
    cr_assert_str_eq(raw.message, "no request came, or only a part of one");
    raw_close(&raw);
}

struct load {
    int left;
    int failed;
    pthread_mutex_t lock; /* guards the fields above */
    pthread_cond_t changed;
    int done;
};

struct load_call {
    struct rpc_client_call call; /* first */
    struct load *load;
    int messages;
};

static void start_next(struct load_call *call);

static void on_load_message(const ProtobufCMessage *message, void *closure_data) {
    struct load_call *call = closure_data;
    call->messages += strcmp(((const Toy__V1__Note *)message)->text, "load") == 0;
}

static void on_load_done(struct rpc_client_call *base, const struct rpc_status *status) {
    struct load_call *call = (struct load_call *)base;
    struct load *load = call->load;
    pthread_mutex_lock(&load->lock);
    load->failed += status->code != RPC_OK || call->messages != 1;
    load->done++;
    bool more = load->left > 0;
    load->left -= more;
    pthread_cond_broadcast(&load->changed);
    pthread_mutex_unlock(&load->lock);
    if (more)
        start_next(call);
}

static void start_next(struct load_call *call) {
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    note.text = "load";
    call->messages = 0;
    toy->stub->invoke(toy->stub, TOY_ECHO, &note.base, on_load_message, call);
}

Test(call, ten_thousand_calls_from_64_callers_are_all_answered) {
    enum { CALLS = 10000, CALLERS = 64 };
    struct load load = {.left = CALLS - CALLERS};
    pthread_mutex_init(&load.lock, NULL);
    pthread_cond_init(&load.changed, NULL);
    struct load_call calls[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        calls[i] = (struct load_call){.call = {.done = on_load_done}, .load = &load};
        start_next(&calls[i]);
    }
    TOY_WAIT(&load, load.done == CALLS);
    cr_assert_eq(load.failed, 0);
    toy_wait_for_ends(toy, RPC_OK, CALLS);
    toy_wait_for_in_flight(toy, 0);
}

Test(call, answers_cancels_and_ends_may_race) {
    enum { CALLS = 300 };
    struct toy_call *calls[CALLS];
    struct toy_held *held[CALLS];
    for (int i = 0; i < CALLS; i++)
        calls[i] = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
    for (int i = 0; i < CALLS; i++) /* all of them: a call that is cancelled on its way would never be held */
        held[i] = toy_take_held(toy);
    for (int i = 0; i < CALLS; i++) {
        rpc_client_call_cancel(&calls[i]->call);
        toy_answer(held[i], "maybe");
    }
    for (int i = 0; i < CALLS; i++) {
        toy_call_wait(calls[i]);
        cr_assert(calls[i]->code == RPC_OK || calls[i]->code == RPC_CANCELLED);
        toy_call_free(calls[i]);
    }
    toy_wait_for_in_flight(toy, 0);
}

/* A call that its client cancels on its way may reach the server without its request. It ends all the same. */
Test(call, calls_cancelled_on_their_way_are_not_lost) {
    enum { CALLS = 300 };
    struct toy_call *calls[CALLS];
    for (int i = 0; i < CALLS; i++) {
        calls[i] = toy_call_start(toy, TOY_ECHO, "hold-obedient", 0, 0);
        rpc_client_call_cancel(&calls[i]->call);
    }
    for (int i = 0; i < CALLS; i++) {
        toy_call_wait(calls[i]);
        cr_assert_eq(calls[i]->code, RPC_CANCELLED);
        toy_call_free(calls[i]);
    }
    toy_wait_for_in_flight(toy, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are refused or taken before the core reads them, as clients see them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/edge.h"
#include "toy.h"

#define CALLS 300
#define TAG   7

struct service {
    struct rpc_refusal refusal;
    char authorization[40];
    int n_asked, n_refused;
    uint64_t caller;
};

/* Refuses requests whose text begins with "no"; the text is field 1. */
static const struct rpc_refusal *refuse(void *arg, struct rpc_early_call *call) {
    struct service *service = arg;
    service->n_asked++;
    call->caller = service->caller;
    snprintf(service->authorization, sizeof service->authorization, "%.*s", (int)call->authorization_len,
             call->authorization ? call->authorization : "");
    return call->len >= 4 && memcmp(call->message + 2, "no", 2) == 0 ? &service->refusal : NULL;
}

static void on_refused(void *arg, int code, uint32_t tag, int64_t n) {
    struct service *service = arg;
    cr_assert_eq(code, RPC_FAILED_PRECONDITION);
    cr_assert_eq(tag, TAG);
    service->n_refused += (int)n;
}

static struct toy *toy_with(struct service *service, struct rpc_caller_limits limits) {
    const struct rpc_status status = {.code = RPC_FAILED_PRECONDITION,
                                      .message = "100 % sold out, b\xc3\xbc",
                                      .details = (const uint8_t *)TOY_DETAILS,
                                      .details_len = TOY_DETAILS_LEN};
    struct rpc_server_options options = toy_options(NULL);
    cr_assert(rpc_refusal_make(&service->refusal, &status, TAG));
    options.caller_limits = limits;
    options.early =
        (struct rpc_early){.path = "/toy.v1.Toy/Echo", .refuse = refuse, .on_refused = on_refused, .arg = service};
    return toy_new(&options);
}

static void expect(struct toy *toy, const char *text, int code) {
    struct toy_call *call = toy_call_run(toy, TOY_ECHO, text, 0);
    cr_assert_eq(call->code, code, "%s: %d %s", text, call->code, call->message);
    if (code == RPC_FAILED_PRECONDITION) {
        cr_assert_str_eq(call->message, "100 % sold out, b\xc3\xbc");
        cr_assert_eq(call->details_len, TOY_DETAILS_LEN);
        cr_assert_eq(memcmp(call->details, TOY_DETAILS, TOY_DETAILS_LEN), 0);
    }
    toy_call_free(call);
}

Test(early, refused_calls_look_like_others) {
    struct service service = {0};
    struct toy *toy = toy_with(&service, (struct rpc_caller_limits){0});
    for (int i = 0; i < CALLS; i++) {
        expect(toy, "no, not today", RPC_FAILED_PRECONDITION);
        if (i % 3 == 0)
            expect(toy, "yes", RPC_OK);
    }
    toy_wait_for_ends(toy, RPC_OK, CALLS / 3);
    /* A client's first call may come before the server has sent its settings. */
    cr_assert_geq(service.n_refused, CALLS - 1);
    cr_assert_eq(service.n_refused + CALLS / 3, service.n_asked);
    toy_free(toy);
}

Test(early, other_methods_are_not_asked) {
    struct service service = {0};
    struct toy *toy = toy_with(&service, (struct rpc_caller_limits){0});
    struct toy_call *list = toy_call_run(toy, TOY_LIST, "no", 0);
    cr_assert_eq(list->code, RPC_OK);
    toy_call_free(list);
    cr_assert_eq(service.n_asked, 0);
    toy_free(toy);
}

Test(early, calls_in_flight_on_the_same_connection_go_on) {
    struct service service = {0};
    struct toy *toy = toy_with(&service, (struct rpc_caller_limits){0});
    struct toy_call *held = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
    struct toy_held *kept = toy_take_held(toy);
    for (int i = 0; i < CALLS; i++)
        expect(toy, "no", RPC_FAILED_PRECONDITION);
    toy_answer(kept, "at last");
    toy_call_wait(held);
    cr_assert_eq(held->code, RPC_OK);
    toy_call_free(held);
    cr_assert_gt(service.n_refused, 0);
    toy_free(toy);
}

Test(early, limits_of_callers_hold) {
    struct service service = {.caller = 5};
    struct toy *toy = toy_with(&service, (struct rpc_caller_limits){.per_second = 1});
    int n_refused = 0, n_limited = 0;
    for (int i = 0; i < 20; i++) {
        struct toy_call *call = toy_call_run(toy, TOY_ECHO, "no", 0);
        n_refused += call->code == RPC_FAILED_PRECONDITION;
        n_limited += call->code == RPC_RESOURCE_EXHAUSTED;
        toy_call_free(call);
    }
    cr_assert_gt(n_limited, 10, "%d refused, %d limited", n_refused, n_limited);
    service.caller = 0; /* known by its address only, which the core knows */
    int before = service.n_refused;
    toy_call_free(toy_call_run(toy, TOY_ECHO, "no", 0));
    cr_assert_eq(service.n_refused, before);
    toy_free(toy);
}

Test(early, too_large_a_status_is_not_packed) {
    struct rpc_refusal refusal;
    char text[400];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    cr_assert_not(rpc_refusal_make(&refusal, &(struct rpc_status){.code = 9, .message = text}, 0));
    text[200] = '\0';
    cr_assert(rpc_refusal_make(&refusal, &(struct rpc_status){.code = 9, .message = text}, 0));
    cr_assert_not(rpc_refusal_make(
        &refusal, &(struct rpc_status){.code = 9, .details = (const uint8_t *)text, .details_len = sizeof text}, 0));
}

/* --- calls that are taken --- */

/* In this process, the client's pollers, too, read what comes to the server, and only the server's own take calls:
 * about every third is taken. */

static struct toy *toy_that_takes(int64_t max_connection_age_ms) {
    struct rpc_server_options options = toy_options(NULL);
    options.early = (struct rpc_early){.path = "/toy.v1.Toy/Echo", .answer_bytes = 100};
    options.max_connection_age_ms = max_connection_age_ms;
    return toy_new(&options);
}

static void echo(struct toy *toy, const char *text) {
    struct toy_call *call = toy_call_run(toy, TOY_ECHO, text, 0);
    cr_assert_eq(call->code, RPC_OK, "%d %s", call->code, call->message);
    cr_assert_str_eq(call->text, text);
    toy_call_free(call);
}

Test(early, calls_are_taken_and_others_pass_the_core) {
    struct toy *toy = toy_that_takes(0);
    for (int i = 0; i < CALLS; i++)
        echo(toy, "taken");
    int64_t n = rpc_server_taken(toy->server);
    cr_assert_gt(n, CALLS / 20, "%ld", (long)n);
    struct toy_call *list = toy_call_run(toy, TOY_LIST, "no", 0);
    cr_assert_eq(list->code, RPC_OK);
    toy_call_free(list);
    cr_assert_eq(rpc_server_taken(toy->server), n);
    toy_wait_for_ends(toy, RPC_OK, CALLS + 1);
    toy_free(toy);
}

Test(early, taken_call_fails_with_details) {
    struct toy *toy = toy_that_takes(0);
    for (int i = 0; i < CALLS; i++) {
        struct toy_call *call = toy_call_run(toy, TOY_ECHO, "fail", 0);
        cr_assert_eq(call->code, RPC_ABORTED);
        cr_assert_str_eq(call->message, "no");
        cr_assert_eq(call->details_len, TOY_DETAILS_LEN);
        cr_assert_arr_eq(call->details, TOY_DETAILS, TOY_DETAILS_LEN);
        toy_call_free(call);
    }
    cr_assert_gt(rpc_server_taken(toy->server), CALLS / 20);
    toy_free(toy);
}

/* Begins calls that are held until one of them is taken, and answers the others. */
static struct toy_call *hold_a_taken_call(struct toy *toy, struct toy_held **ret_held) {
    for (int i = 0; i < CALLS; i++) {
        int64_t before = rpc_server_taken(toy->server);
        struct toy_call *call = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
        *ret_held = toy_take_held(toy);
        if (rpc_server_taken(toy->server) > before)
            return call;
        toy_answer(*ret_held, "passed the core");
        toy_call_wait(call);
        toy_call_free(call);
    }
    cr_assert_fail("no call was taken");
    return NULL;
}

Test(early, client_that_cancels_a_taken_call_is_noticed) {
    struct toy *toy = toy_that_takes(0);
    struct toy_held *held;
    struct toy_call *call = hold_a_taken_call(toy, &held);
    rpc_client_call_cancel(&call->call);
    toy_wait_for_cancels(toy, 1);
    toy_wait_for_ends(toy, RPC_CANCELLED, 1);
    toy_answer(held, "too late");
    toy_call_wait(call);
    toy_call_free(call);
    toy_wait_for_in_flight(toy, 0);
    toy_free(toy);
}

Test(early, client_that_leaves_cancels_its_taken_calls) {
    struct toy *toy = toy_that_takes(0);
    echo(toy, "connect");
    struct toy_call *calls[20];
    struct toy_held *held[20];
    for (int i = 0; i < 20; i++) {
        calls[i] = toy_call_start(toy, TOY_ECHO, "hold", 0, 0);
        held[i] = toy_take_held(toy);
    }
    rpc_channel_free(toy->channel);
    toy->channel = NULL;
    toy_wait_for_cancels(toy, 20);
    for (int i = 0; i < 20; i++) {
        toy_answer(held[i], "nobody reads it");
        toy_call_wait(calls[i]);
        toy_call_free(calls[i]);
    }
    toy_wait_for_in_flight(toy, 0);
    toy_free(toy);
}

Test(early, calls_of_connections_with_an_age_are_not_taken) {
    struct toy *toy = toy_that_takes(3600000);
    for (int i = 0; i < 10; i++)
        echo(toy, "through the core");
    cr_assert_eq(rpc_server_taken(toy->server), 0);
    toy_free(toy);
}

Test(early, response_may_be_as_long_as_its_request_and_more) {
    struct toy *toy = toy_that_takes(0);
    char text[160];
    memset(text, 'g', sizeof text);
    memcpy(text, "grow", 4);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < CALLS; i++)
        echo(toy, text); /* as long as its request */
    cr_assert_gt(rpc_server_taken(toy->server), CALLS / 20);
    toy_free(toy);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Channels with several addresses. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "toy.h"

#define REFUSING     "127.0.0.1:1"
#define QUEUE        4 /* more connections than a listener without a queue keeps */
#define SHORT_MS     200
#define MANY         1000
#define US_PER_MS    1000
#define ADDRESS_SIZE 30

static struct toy *toy;
static int silent[1 + QUEUE];
static char silent_address[ADDRESS_SIZE];

/* An address that answers no connection: its listener's queue is full. */
static void open_silent(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    silent[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(silent[0], (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(silent[0], 0), 0);
    cr_assert_eq(getsockname(silent[0], (struct sockaddr *)&address, &size), 0);
    for (int i = 1; i <= QUEUE; i++) {
        silent[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(silent[i], (struct sockaddr *)&address, size);
    }
    snprintf(silent_address, sizeof silent_address, "127.0.0.1:%u", ntohs(address.sin_port));
}

static void set_up(void) {
    toy = toy_new(NULL);
    open_silent();
}

static void tear_down(void) {
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++)
        close(silent[i]);
    toy_free(toy);
}

TestSuite(pick, .init = set_up, .fini = tear_down);

/* Replaces the toy's channel. */
static void connect_to(const char *first, const char *second) {
    struct strbuf list = {0};
    const struct rpc_channel_options two = {.pollers = 2};
    struct err err;
    rpc_channel_free(toy->channel);
    strbuf_printf(&list, "%s,%s", first, second);
    cr_assert(rpc_channel_new(list.data, &two, &toy->channel, &err), "%s", err.text);
    toy->stub = rpc_channel_service(toy->channel, &toy__v1__toy__descriptor, TOY_METHODS, 4);
    strbuf_deinit(&list);
}

static void finish(struct toy_call *call, int code) {
    toy_call_wait(call);
    cr_assert_eq(call->code, code, "%s: %s", rpc_code_name(call->code), call->message);
    toy_call_free(call);
}

static void write_note(struct toy_call *call, int64_t number) {
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    note.number = number;
    cr_assert(rpc_client_call_write(&call->call, &note.base));
}

static int ends_of(struct toy *one) {
    pthread_mutex_lock(&one->lock);
    int ends = one->ends[RPC_OK];
    pthread_mutex_unlock(&one->lock);
    return ends;
}

Test(pick, calls_take_the_addresses_in_turn) {
    struct toy *other = toy_new(NULL);
    connect_to(rpc_server_address(toy->server), rpc_server_address(other->server));
    int64_t until_us = clock_mono_us() + (int64_t)TOY_WAIT_MS * US_PER_MS;
    do { /* until both are connected */
        cr_assert_lt(clock_mono_us(), until_us);
        finish(toy_call_start(toy, TOY_ECHO, "", 0, 0), RPC_OK);
    } while (ends_of(toy) == 0 || ends_of(other) == 0);
    int before = ends_of(toy), others_before = ends_of(other);
    for (int i = 0; i < 10; i++)
        finish(toy_call_start(toy, TOY_ECHO, "", 0, 0), RPC_OK);
    toy_wait_for_ends(toy, RPC_OK, before + 4); /* 5, unless the end of an earlier call was still on its way */
    toy_wait_for_ends(other, RPC_OK, others_before + 4);
    toy_free(other);
}

Test(pick, the_first_calls_pass_over_addresses_that_refuse_or_do_not_answer) {
    const char *const bad[] = {REFUSING, silent_address, "nothing.invalid:1"};
    for (size_t i = 0; i < 2 * sizeof bad / sizeof bad[0]; i++) {
        const char *sound = rpc_server_address(toy->server), *other = bad[i / 2];
        connect_to(i % 2 ? sound : other, i % 2 ? other : sound);
        struct toy_call *calls[10];
        for (int k = 0; k < 10; k++)
            calls[k] = toy_call_start(toy, k % 2 ? TOY_ECHO : TOY_LIST, "", 1, TOY_WAIT_MS);
        for (int k = 0; k < 10; k++)
            finish(calls[k], RPC_OK);
    }
}

Test(pick, a_stream_that_waits_for_an_address_keeps_what_is_written) {
    connect_to(silent_address, rpc_server_address(toy->server));
    struct toy_call *call = toy_call_open(toy, TOY_CHAT);
    for (int i = 0; i < 10; i++)
        write_note(call, i);
    rpc_client_call_pause_reading(&call->call);
    rpc_client_call_resume_reading(&call->call);
    rpc_client_call_half_close(&call->call);
    toy_call_wait(call);
    cr_assert_eq(call->n_messages, 10);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(call->numbers[i], i);
    finish(call, RPC_OK);
}

Test(pick, a_call_fails_once_all_addresses_have_failed) {
    connect_to(REFUSING, "nothing.invalid:1");
    for (int i = 0; i < 3; i++)
        finish(toy_call_start(toy, i % 2 ? TOY_LIST : TOY_ECHO, "", 1, TOY_WAIT_MS), RPC_UNAVAILABLE);
    struct toy_call *call = toy_call_new();
    call->call.timeout_ms = SHORT_MS;
    call->call.wait_for_ready = true;
    toy_call_begin(toy, call, TOY_ECHO, "", 0);
    finish(call, RPC_DEADLINE_EXCEEDED);
}

Test(pick, a_call_waits_until_its_deadline) {
    connect_to(silent_address, silent_address);
    int64_t start_us = clock_mono_us();
    struct toy_call *calls[2];
    for (int i = 0; i < 2; i++)
        calls[i] = toy_call_start(toy, i ? TOY_LIST : TOY_ECHO, "", 1, SHORT_MS);
    for (int i = 0; i < 2; i++)
        finish(calls[i], RPC_DEADLINE_EXCEEDED);
    cr_assert_geq(clock_mono_us() - start_us, SHORT_MS * US_PER_MS);
}

Test(pick, a_call_that_waits_can_be_cancelled_and_ends_with_its_channel) {
    connect_to(silent_address, silent_address);
    struct toy_call *calls[MANY];
    for (int i = 0; i < MANY; i++)
        calls[i] = toy_call_start(toy, i % 2 ? TOY_ECHO : TOY_CHAT, "", 1, 0);
    for (int i = 0; i < MANY / 2; i++)
        rpc_client_call_cancel(&calls[i]->call);
    for (int i = 0; i < MANY / 2; i++)
        finish(calls[i], RPC_CANCELLED);
    cr_assert_not(toy_call_is_done(calls[MANY - 1]));
    rpc_channel_free(toy->channel);
    toy->channel = NULL;
    for (int i = MANY / 2; i < MANY; i++)
        finish(calls[i], RPC_CANCELLED);
}

Test(pick, calls_that_are_cancelled_while_their_wait_ends_end_once) {
    for (int round = 0; round < 20; round++) {
        connect_to(REFUSING, rpc_server_address(toy->server));
        struct toy_call *calls[100];
        for (int i = 0; i < 100; i++)
            calls[i] = toy_call_start(toy, i % 2 ? TOY_ECHO : TOY_LIST, "", 1, 0);
        finish(calls[0], RPC_OK);
        for (int i = 1; i < 100; i++)
            rpc_client_call_cancel(&calls[i]->call);
        for (int i = 1; i < 100; i++) {
            toy_call_wait(calls[i]);
            toy_call_free(calls[i]);
        }
    }
}

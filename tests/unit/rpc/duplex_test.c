/* SPDX-License-Identifier: Apache-2.0 */
/* The client's streams, and metadata, compression, limits and holding back on both sides. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "toy.h"

static struct toy *toy;

static void set_up(void) {
    toy = toy_new(NULL);
}

static void tear_down(void) {
    toy_free(toy);
}

TestSuite(duplex, .init = set_up, .fini = tear_down);

static void write_note(struct toy_call *call, const char *text, int64_t number) {
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    note.text = (char *)(uintptr_t)text;
    note.number = number;
    cr_assert(rpc_client_call_write(&call->call, &note.base));
}

static struct toy_call *start(unsigned method, const char *text) {
    return toy_call_start(toy, method, text, 1, 0);
}

static void finish(struct toy_call *call, int code) {
    toy_call_wait(call);
    cr_assert_eq(call->code, code, "%s: %s", rpc_code_name(call->code), call->message);
    toy_call_free(call);
}

Test(duplex, a_client_stream_is_answered_once_at_its_end) {
    struct toy_call *call = start(TOY_COLLECT, "");
    for (int i = 2; i <= 100; i++)
        write_note(call, "", i);
    cr_assert_not(toy_call_is_done(call));
    rpc_client_call_half_close(&call->call);
    toy_call_wait(call);
    cr_assert_eq(call->number, 5050);
    cr_assert_eq(call->n_messages, 1);
    finish(call, RPC_OK);
}

Test(duplex, a_bidi_stream_goes_to_and_fro_until_either_ends_it) {
    struct toy_call *call = start(TOY_CHAT, "hello");
    for (int i = 1; i <= 50; i++) {
        toy_call_wait_for_messages(call, i);
        write_note(call, "more", i);
    }
    rpc_client_call_half_close(&call->call);
    toy_call_wait(call);
    cr_assert_eq(call->n_messages, 52);
    cr_assert_str_eq(call->text, "bye");
    finish(call, RPC_OK);
    call = start(TOY_CHAT, "once");
    write_note(call, "fail", 0);
    finish(call, RPC_ABORTED);
}

Test(duplex, a_stream_may_be_opened_without_a_message) {
    struct toy_call *call = toy_call_open(toy, TOY_CHAT);
    rpc_client_call_half_close(&call->call);
    toy_call_wait(call);
    cr_assert_eq(call->n_messages, 0);
    finish(call, RPC_OK);
    call = toy_call_open(toy, TOY_CHAT);
    write_note(call, "late", 1);
    toy_call_wait_for_messages(call, 1);
    rpc_client_call_half_close(&call->call);
    finish(call, RPC_OK);
}

Test(duplex, an_early_status_ends_a_client_that_still_sends) {
    struct toy_call *call = start(TOY_COLLECT, "fail");
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    while (rpc_client_call_write(&call->call, &note.base))
        ;
    finish(call, RPC_ABORTED);
}

Test(duplex, nothing_is_written_after_the_half_close_or_the_end) {
    struct toy_call *call = start(TOY_CHAT, "x");
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    rpc_client_call_half_close(&call->call);
    cr_assert_not(rpc_client_call_write(&call->call, &note.base));
    toy_call_wait(call);
    cr_assert_not(rpc_client_call_write(&call->call, &note.base));
    rpc_client_call_half_close(&call->call);
    rpc_client_call_cancel(&call->call);
    rpc_client_call_resume_reading(&call->call);
    finish(call, RPC_OK);
}

Test(duplex, a_stream_can_be_cancelled_from_either_side_of_its_middle) {
    struct toy_call *call = toy_call_open(toy, TOY_COLLECT);
    rpc_client_call_cancel(&call->call);
    finish(call, RPC_CANCELLED);
    call = start(TOY_CHAT, "x");
    toy_call_wait_for_messages(call, 1);
    rpc_client_call_cancel(&call->call);
    finish(call, RPC_CANCELLED);
    call = toy_call_start(toy, TOY_CHAT, "x", 1, 100);
    finish(call, RPC_DEADLINE_EXCEEDED);
    toy_wait_for_in_flight(toy, 0);
}

static bool is(const char *value, size_t len, const char *expected, size_t expected_len) {
    return value && len == expected_len && memcmp(value, expected, len) == 0;
}

static void look_at_headers(struct rpc_client_call *call) {
    size_t len;
    const char *value = rpc_client_call_header(call, "x-toy-header", &len);
    cr_assert(is(value, len, "one", 3));
    value = rpc_client_call_header(call, "x-toy-header-bin", &len);
    cr_assert(is(value, len, "\0\xff", 2));
    cr_assert_null(rpc_client_call_header(call, "x-none", &len));
    struct toy_call *toy_call = (struct toy_call *)call;
    pthread_mutex_lock(&toy_call->lock);
    toy_call->n_headers++;
    pthread_cond_broadcast(&toy_call->changed);
    pthread_mutex_unlock(&toy_call->lock);
}

Test(duplex, metadata_goes_both_ways) {
    const struct rpc_metadatum metadata[] = {{"x-toy", "text", 4}, {"x-toy-bin", "\0\1\2", 3}};
    struct toy_call *call = toy_call_new();
    call->call.metadata = metadata;
    call->call.n_metadata = 2;
    toy_call_begin(toy, call, TOY_ECHO, "meta", 0);
    toy_call_wait(call);
    cr_assert_str_eq(call->text, "text", "the request's came back as text");
    cr_assert(is(call->trailer, call->trailer_len, "\1\0", 2));
    finish(call, RPC_OK);

    call = toy_call_new();
    call->call.on_headers = look_at_headers;
    toy_call_begin(toy, call, TOY_CHAT, "meta", 0);
    TOY_WAIT(call, call->n_headers == 1);
    cr_assert_eq(call->n_messages, 0);
    rpc_client_call_half_close(&call->call);
    toy_call_wait(call);
    cr_assert(is(call->trailer, call->trailer_len, "\1\0", 2));
    finish(call, RPC_OK);
}

Test(duplex, metadata_that_cannot_be_sent_fails_the_call) {
    const struct rpc_metadatum bad[] = {{"Upper", "x", 1}, {"grpc-timeout", "1S", 2}, {"x-text", "\n", 1}};
    for (size_t i = 0; i < 3; i++) {
        struct toy_call *call = toy_call_new();
        call->call.metadata = &bad[i];
        call->call.n_metadata = 1;
        toy_call_begin(toy, call, i == 0 ? TOY_CHAT : TOY_ECHO, "", 0);
        toy_call_wait(call);
        cr_assert_neq(strstr(call->message, bad[i].key), NULL, "%s", call->message);
        finish(call, RPC_INTERNAL);
    }
}

Test(duplex, either_side_compresses_where_it_is_asked_to) {
    const struct {
        enum rpc_compression compression;
        const char *text;
    } cases[] = {{RPC_COMPRESSION_GZIP, "gzip"}, {RPC_COMPRESSION_DEFLATE, "deflate"}, {RPC_COMPRESSION_NONE, "gzip"}};
    char text[190] = "";
    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "%s%0150d", cases[i].text, 0);
        struct toy_call *call = toy_call_new();
        call->call.compression = cases[i].compression;
        toy_call_begin(toy, call, TOY_ECHO, text, 0);
        toy_call_wait(call);
        cr_assert_eq(call->code, RPC_OK, "%s", call->message);
        cr_assert_str_eq(call->text, text);
        cr_assert_eq(call->number, cases[i].compression != RPC_COMPRESSION_NONE, "the request, number %zu", i);
        cr_assert(call->is_compressed, "the response, number %zu", i);
        finish(call, RPC_OK);
    }
    struct toy_call *call = toy_call_run(toy, TOY_ECHO, "plain", 0);
    cr_assert_not(call->is_compressed);
    finish(call, RPC_OK);
}

#define LARGE 60000

/* More writes than the core and the network's buffers take before they hold back the writer. */
#define WRITES_TAKEN_MAX 2000

Test(duplex, a_server_that_does_not_read_holds_back_the_client) {
    struct toy_call *call = start(TOY_CHAT, "pause");
    struct toy_held *held = toy_take_held(toy);
    char large[LARGE + 1];
    memset(large, 'x', LARGE);
    large[LARGE] = 0;
    int n = 0;
    while (rpc_client_call_pending_writes(&call->call) < 10) {
        write_note(call, large, 0);
        cr_assert_lt(++n, WRITES_TAKEN_MAX);
    }
    rpc_client_call_half_close(&call->call);
    rpc_call_resume_reading(held->call);
    toy_call_wait_for_messages(call, n);
    cr_assert_eq(rpc_client_call_pending_writes(&call->call), 0);
    rpc_call_unref(held->call);
    finish(call, RPC_OK);
}

struct pump {
    struct toy_held *held;
    atomic_int written, drained;
};

/* Writes five messages at a time while there are some to write. */
static void write_some(void *arg) {
    struct pump *pump = arg;
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    char large[LARGE] = {0};
    note.blob = (ProtobufCBinaryData){.len = sizeof large, .data = (uint8_t *)large};
    pump->drained++;
    for (int i = 0; i < 5 && pump->written < 1000; i++, pump->written++)
        pump->held->closure(&note, pump->held->call);
    cr_assert_leq(rpc_call_pending_writes(pump->held->call), 6);
    if (pump->written == 1000)
        rpc_call_finish(pump->held->call);
}

Test(duplex, a_client_that_does_not_read_holds_back_the_server) {
    struct toy_call *call = start(TOY_LIST, "hold");
    struct toy_held *held = toy_take_held(toy);
    struct pump pump = {.held = held};
    rpc_client_call_pause_reading(&call->call);
    rpc_call_on_drained(held->call, write_some, &pump);
    rpc_call_send_headers(held->call);
    /* The writer is held back when nothing more is written for a while, although there is more. Then everything comes.
     */
    int before = -1;
    while (pump.written == 0 || pump.written != before) {
        before = pump.written;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    cr_assert_lt(pump.written, 1000);
    pthread_mutex_lock(&call->lock);
    cr_assert_leq(call->n_messages, 1);
    pthread_mutex_unlock(&call->lock);
    rpc_client_call_resume_reading(&call->call);
    toy_call_wait_for_messages(call, 1000);
    toy_call_wait(call);
    cr_assert_geq(pump.drained, 200);
    rpc_call_unref(held->call);
    finish(call, RPC_OK);
}

Test(duplex, a_paused_client_can_be_cancelled) {
    struct toy_call *call = start(TOY_LIST, "hold");
    struct toy_held *held = toy_take_held(toy);
    rpc_client_call_pause_reading(&call->call);
    toy_answer(held, "x");
    rpc_client_call_cancel(&call->call);
    toy_call_wait(call);
    toy_call_free(call);
}

static void on_drained(struct rpc_client_call *base) {
    struct toy_call *call = (struct toy_call *)base;
    if (call->number_out < 500)
        write_note(call, "", ++call->number_out);
    else
        rpc_client_call_half_close(base);
}

Test(duplex, a_client_may_write_whenever_the_core_has_taken_all) {
    struct toy_call *call = toy_call_new();
    call->call.on_drained = on_drained;
    toy_call_begin(toy, call, TOY_COLLECT, "", 0);
    toy_call_wait(call);
    cr_assert_eq(call->number, 500 * 501 / 2);
    finish(call, RPC_OK);
}

Test(limits, of_a_method_and_of_a_call) {
    struct rpc_server_options options = toy_options(NULL);
    struct toy *limited = toy_new(&options);
    rpc_server_stop(limited->server, 0, NULL);
    struct err err;
    cr_assert(rpc_server_limit(limited->server, "toy.v1.Toy", "Echo", &(struct rpc_limits){.message_bytes = 50}, &err));
    cr_assert(rpc_server_limit(limited->server, "toy.v1.Toy", "Chat", &(struct rpc_limits){.call_bytes = 100}, &err));
    cr_assert_not(rpc_server_limit(limited->server, "toy.v1.Toy", "None", &(struct rpc_limits){0}, &err));
    cr_assert(rpc_server_start(limited->server, &err), "%s", err.text);
    rpc_channel_free(limited->channel);
    cr_assert(rpc_channel_new(rpc_server_address(limited->server), NULL, &limited->channel, &err));
    limited->stub = rpc_channel_service(limited->channel, &toy__v1__toy__descriptor, TOY_METHODS, 4);

    struct toy_call *call = toy_call_run(limited, TOY_ECHO, "some forty bytes are fine, are they not?", 0);
    finish(call, RPC_OK);
    call = toy_call_run(limited, TOY_ECHO, "some forty bytes are fine, and fifty-one are not so.", 0);
    finish(call, RPC_RESOURCE_EXHAUSTED);
    call = toy_call_start(limited, TOY_CHAT, "forty bytes, forty bytes, forty bytes", 0, 0);
    toy_call_wait_for_messages(call, 1);
    write_note(call, "forty bytes, forty bytes, forty bytes", 0);
    toy_call_wait_for_messages(call, 2);
    write_note(call, "forty bytes, forty bytes, forty bytes", 0);
    finish(call, RPC_RESOURCE_EXHAUSTED);

    call = toy_call_new();
    call->call.max_call_bytes = 100;
    toy_call_begin(limited, call, TOY_LIST, "", 1000);
    finish(call, RPC_RESOURCE_EXHAUSTED);
    toy_free(limited);
}

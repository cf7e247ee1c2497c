/* SPDX-License-Identifier: Apache-2.0 */
/* Server, client and bidi streams. */
#include <string.h>

#include "raw.h"
#include "toy.h"

static struct toy *toy;

static void set_up(void) {
    toy = toy_new(NULL);
}

static void tear_down(void) {
    toy_free(toy);
}

TestSuite(stream, .init = set_up, .fini = tear_down);

static const char *address(void) {
    return rpc_server_address(toy->server);
}

Test(stream, messages_arrive_in_the_order_written_and_then_the_end) {
    struct toy_call *call = toy_call_run(toy, TOY_LIST, "", 1000);
    cr_assert_eq(call->code, RPC_OK, "%s", call->message);
    cr_assert_eq(call->n_messages, 1000);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(call->numbers[i], i);
    toy_call_free(call);
}

Test(stream, a_stream_may_be_empty) {
    struct toy_call *call = toy_call_run(toy, TOY_LIST, "", 0);
    cr_assert_eq(call->code, RPC_OK, "%s", call->message);
    cr_assert_eq(call->n_messages, 0);
    toy_call_free(call);
}

Test(stream, a_failure_comes_after_the_messages_written_before_it) {
    struct toy_call *call = toy_call_run(toy, TOY_LIST, "fail", 100);
    cr_assert_eq(call->code, RPC_ABORTED);
    cr_assert_eq(call->n_messages, 100);
    cr_assert_eq(call->details_len, TOY_DETAILS_LEN);
    toy_call_free(call);
}

Test(stream, messages_may_be_written_from_another_thread_at_any_time) {
    struct toy_call *call = toy_call_start(toy, TOY_LIST, "hold", 0, 0);
    struct toy_held *held = toy_take_held(toy);
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    for (note.number = 0; note.number < 3; note.number++) {
        held->closure(&note, held->call);
        toy_call_wait_for_messages(call, (int)note.number + 1);
        cr_assert_not(toy_call_is_done(call));
    }
    rpc_call_finish(held->call);
    toy_call_wait(call);
    cr_assert_eq(call->code, RPC_OK);
    toy_call_free(call);
    rpc_call_unref(held->call);
}

Test(stream, a_reader_that_does_not_read_leaves_writes_pending) {
    struct raw raw;
    static unsigned char bytes[12000];
    raw_open(&raw, address(), "/toy.v1.Toy/List", NULL, NULL);
    raw_send(&raw, "\x0a\x04hold", 6);
    struct toy_held *held = toy_take_held(toy);
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    static uint8_t blob[10000]; /* together more than any window grows to */
    note.blob = (ProtobufCBinaryData){.len = sizeof blob, .data = blob};
    for (int i = 0; i < 1000; i++)
        held->closure(&note, held->call);
    cr_assert_gt(rpc_call_pending_writes(held->call), 0);
    rpc_call_finish(held->call);
    int n = 0;
    while (raw_receive(&raw, bytes, sizeof bytes) >= 0)
        n++;
    cr_assert_eq(n, 1000);
    cr_assert_eq(raw_status(&raw), RPC_OK);
    raw_close(&raw);
    toy_wait_for_ends(toy, RPC_OK, 1);
    cr_assert_eq(rpc_call_pending_writes(held->call), 0);
    rpc_call_unref(held->call);
}

Test(stream, a_client_that_leaves_cancels_the_stream_and_frees_what_was_pending) {
    struct raw raw;
    raw_open(&raw, address(), "/toy.v1.Toy/List", NULL, NULL);
    raw_send(&raw, "\x0a\x04hold", 6);
    struct toy_held *held = toy_take_held(toy);
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    uint8_t blob[1000] = {0};
    note.blob = (ProtobufCBinaryData){.len = sizeof blob, .data = blob};
    for (int i = 0; i < 1000; i++)
        held->closure(&note, held->call);
    raw_close(&raw);
    toy_wait_for_cancels(toy, 1);
    held->closure(&note, held->call);
    rpc_call_finish(held->call);
    rpc_call_unref(held->call);
    toy_wait_for_in_flight(toy, 0);
}

Test(stream, a_client_stream_is_answered_once_at_its_end) {
    struct raw raw;
    unsigned char bytes[100];
    raw_open(&raw, address(), "/toy.v1.Toy/Collect", NULL, NULL);
    for (char number = 1; number <= 4; number++) {
        const char message[] = {0x10, number};
        raw_send(&raw, message, sizeof message);
    }
    raw_half_close(&raw);
    long len = raw_receive(&raw, bytes, sizeof bytes);
    cr_assert_eq(len, 2);
    cr_assert_arr_eq(bytes, "\x10\x0a", 2);
    cr_assert_eq(raw_status(&raw), RPC_OK);
    raw_close(&raw);
}

Test(stream, a_client_stream_may_be_refused_in_its_middle) {
    struct raw raw;
    raw_open(&raw, address(), "/toy.v1.Toy/Collect", NULL, NULL);
    raw_send(&raw, "\x10\x01", 2);
    raw_send(&raw,
             "\x0a\x04"
             "fail",
             6);
    cr_assert_eq(raw_status(&raw), RPC_ABORTED);
    raw_close(&raw);
    toy_wait_for_in_flight(toy, 0);
}

Test(stream, a_client_stream_without_messages_gets_an_error) {
    struct raw raw;
    raw_open(&raw, address(), "/toy.v1.Toy/Collect", NULL, NULL);
    raw_half_close(&raw);
    cr_assert_eq(raw_status(&raw), RPC_INTERNAL);
    cr_assert_str_eq(raw.message, "the service gave no response");
    raw_close(&raw);
}

Test(stream, a_bidi_stream_answers_while_the_client_still_sends) {
    struct raw raw;
    unsigned char bytes[100];
    raw_open(&raw, address(), "/toy.v1.Toy/Chat", NULL, NULL);
    for (char number = 1; number <= 50; number++) {
        const char message[] = {0x10, number};
        raw_send(&raw, message, sizeof message);
        cr_assert_eq(raw_receive(&raw, bytes, sizeof bytes), 2);
        cr_assert_arr_eq(bytes, message, 2);
    }
    raw_half_close(&raw);
    cr_assert_eq(raw_receive(&raw, bytes, sizeof bytes), -1);
    cr_assert_eq(raw_status(&raw), RPC_OK);
    raw_close(&raw);
}

Test(stream, a_bidi_stream_may_say_something_after_the_client_has_half_closed) {
    struct raw raw;
    unsigned char bytes[100];
    raw_open(&raw, address(), "/toy.v1.Toy/Chat", NULL, NULL);
    raw_send(&raw, "\x0a\x05hello", 7);
    cr_assert_eq(raw_receive(&raw, bytes, sizeof bytes), 7);
    raw_half_close(&raw);
    cr_assert_eq(raw_receive(&raw, bytes, sizeof bytes), 5);
    cr_assert_arr_eq(bytes,
                     "\x0a\x03"
                     "bye",
                     5);
    cr_assert_eq(raw_status(&raw), RPC_OK);
    raw_close(&raw);
}

Test(stream, a_bidi_client_that_does_not_read_is_not_read_from_either) {
    struct raw raw;
    static unsigned char message[20001], bytes[30000];
    raw_open(&raw, address(), "/toy.v1.Toy/Chat", NULL, NULL);
    const unsigned char head[] = {0x1a, 0x9d, 0x9c, 0x01}; /* blob, 19997 bytes */
    memcpy(message, head, sizeof head);
    enum { MESSAGES = 200 };
    for (int i = 0; i < MESSAGES; i++) {
        raw_send(&raw, message, sizeof message);
        if (i >= 100) /* up to here 2 MB wait somewhere */
            cr_assert_geq(raw_receive(&raw, bytes, sizeof bytes), 0);
    }
    raw_half_close(&raw);
    int n = MESSAGES - 100;
    while (raw_receive(&raw, bytes, sizeof bytes) >= 0)
        n++;
    cr_assert_eq(n, MESSAGES);
    cr_assert_eq(raw_status(&raw), RPC_OK);
    raw_close(&raw);
}

Test(stream, a_bidi_stream_refuses_bad_text_in_any_of_its_messages) {
    struct raw raw;
    unsigned char bytes[100];
    raw_open(&raw, address(), "/toy.v1.Toy/Chat", NULL, NULL);
    raw_send(&raw, "\x0a\x01x", 3);
    cr_assert_eq(raw_receive(&raw, bytes, sizeof bytes), 3);
    raw_send(&raw, "\x0a\x01\xff", 3);
    cr_assert_eq(raw_status(&raw), RPC_INVALID_ARGUMENT);
    cr_assert_str_eq(raw.message, "text is not valid UTF-8");
    raw_close(&raw);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "toy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "grpc/health/v1/health.pb-c.h"

const struct rpc_method TOY_METHODS[4] = {
    {"Echo", RPC_UNARY},
    {"List", RPC_SERVER_STREAM},
    {"Collect", RPC_CLIENT_STREAM},
    {"Chat", RPC_BIDI_STREAM},
};

struct timespec toy_deadline(void) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TOY_WAIT_MS / 1000;
    return until;
}

const unsigned char *toy_descriptor_set(size_t *ret_size) {
    static unsigned char bytes[1 << 20];
    FILE *file = fopen(TOY_DESCRIPTOR_SET, "rb");
    cr_assert(file != NULL, "%s", TOY_DESCRIPTOR_SET);
    *ret_size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return bytes;
}

/* --- the service --- */

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static void fail(struct rpc_call *call) {
    rpc_call_fail(call,
                  &(struct rpc_status){
                      .code = RPC_ABORTED, .message = "no", .details = TOY_DETAILS, .details_len = TOY_DETAILS_LEN});
}

static void on_cancel(void *arg) {
    struct toy_held *held = arg;
    struct toy *toy = held->toy;
    cr_assert(rpc_call_is_cancelled(held->call));
    bool answers = starts(held->input->text, "hold-obedient");
    pthread_mutex_lock(&toy->lock);
    toy->cancels++;
    pthread_cond_broadcast(&toy->changed);
    pthread_mutex_unlock(&toy->lock);
    if (answers)
        toy_answer(held, "late");
}

static void hold(struct toy *toy, bool is_stream, const Toy__V1__Note *input, Toy__V1__Note_Closure closure,
                 struct rpc_call *call) {
    struct toy_held *held = rpc_call_alloc(call, sizeof *held);
    *held = (struct toy_held){.toy = toy, .call = call, .input = input, .closure = closure, .is_stream = is_stream};
    if (starts(input->text, "hold-obedient")) {
        rpc_call_on_cancel(call, on_cancel, held);
        return;
    }
    rpc_call_ref(call); /* the reference of the caller of toy_take_held */
    rpc_call_on_cancel(call, on_cancel, held);
    pthread_mutex_lock(&toy->lock);
    held->next = toy->held;
    toy->held = held;
    pthread_cond_broadcast(&toy->changed);
    pthread_mutex_unlock(&toy->lock);
}

static void add_metadata(struct rpc_call *call) {
    cr_assert(rpc_call_add_header(call, &(struct rpc_metadatum){"x-toy-header", "one", 3}));
    cr_assert(rpc_call_add_header(call, &(struct rpc_metadatum){"x-toy-header-bin", "\0\xff", 2}));
    cr_assert(rpc_call_add_trailer(call, &(struct rpc_metadatum){"x-toy-trailer-bin", "\1\0", 2}));
    cr_assert_not(rpc_call_add_header(call, &(struct rpc_metadatum){"grpc-own", "x", 1}), "reserved");
    cr_assert_not(rpc_call_add_header(call, &(struct rpc_metadatum){"X-Upper", "x", 1}), "upper case");
    cr_assert_not(rpc_call_add_trailer(call, &(struct rpc_metadatum){"x-text", "\n", 1}), "no printable text");
}

static void echo(Toy__V1__Toy_Service *service, const Toy__V1__Note *input, Toy__V1__Note_Closure closure,
                 void *closure_data) {
    struct rpc_call *call = rpc_call_of(closure_data);
    if (starts(input->text, "hold")) {
        hold((struct toy *)service, false, input, closure, call);
        return;
    }
    if (starts(input->text, "fail")) {
        fail(call);
        return;
    }
    if (starts(input->text, "null")) {
        closure(NULL, closure_data);
        return;
    }
    Toy__V1__Note answer = *input;
    int64_t deadline_us = rpc_call_deadline_us(call);
    answer.number = deadline_us == INT64_MAX ? -1 : deadline_us - clock_mono_us();
    if (starts(input->text, "meta"))
        add_metadata(call);
    if (starts(input->text, "gzip") || starts(input->text, "deflate")) {
        answer.number = rpc_call_is_compressed(call);
        rpc_call_set_compression(call, *input->text == 'g' ? RPC_COMPRESSION_GZIP : RPC_COMPRESSION_DEFLATE);
    }
    if (strcmp(input->text, "twice") == 0)
        rpc_call_ref(call);
    size_t len;
    const char *value = rpc_call_metadata(call, "x-toy", &len);
    char text[100];
    if (value) {
        snprintf(text, sizeof text, "%.*s", (int)len, value);
        answer.text = text;
        answer.blob.data = (uint8_t *)rpc_call_metadata(call, "x-toy-bin", &answer.blob.len);
    }
    closure(&answer, closure_data);
    if (strcmp(input->text, "twice") == 0) {
        answer.text = text;
        strcpy(text, "again");
        closure(&answer, closure_data);
        fail(call);
        rpc_call_unref(call);
    }
}

static void list(Toy__V1__Toy_Service *service, const Toy__V1__Note *input, Toy__V1__Note_Closure closure,
                 void *closure_data) {
    struct rpc_call *call = rpc_call_of(closure_data);
    if (starts(input->text, "hold")) {
        hold((struct toy *)service, true, input, closure, call);
        return;
    }
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    note.blob = input->blob;
    for (note.number = 0; note.number < input->number; note.number++)
        closure(&note, closure_data);
    cr_assert_leq(rpc_call_pending_writes(call), (size_t)input->number);
    if (starts(input->text, "fail"))
        fail(call);
    else
        rpc_call_finish(call);
}

/* Ends a stream that waits for more messages when its client has gone. */
static void drop_call(void *arg) {
    rpc_call_fail(arg, &(struct rpc_status){.code = RPC_CANCELLED});
}

/* Runs at the client's half-close. */
static void answer_collected(void *arg) {
    struct toy *toy = arg;
    Toy__V1__Note answer = TOY__V1__NOTE__INIT;
    answer.number = toy->collected;
    toy->collect_closure(&answer, toy->collect_call);
}

static void collect(Toy__V1__Toy_Service *service, const Toy__V1__Note *input, Toy__V1__Note_Closure closure,
                    void *closure_data) {
    struct toy *toy = (struct toy *)service;
    struct rpc_call *call = rpc_call_of(closure_data);
    if (!input) {
        rpc_call_on_cancel(call, drop_call, call);
        return;
    }
    if (starts(input->text, "fail")) {
        fail(call);
        return;
    }
    toy->collect_call = call;
    toy->collect_closure = closure;
    toy->collected += input->number;
    rpc_call_on_half_close(call, answer_collected, toy);
}

struct goodbye {
    Toy__V1__Note_Closure closure;
    struct rpc_call *call;
};

static void say_goodbye(void *arg) {
    struct goodbye *goodbye = arg;
    Toy__V1__Note bye = TOY__V1__NOTE__INIT;
    bye.text = "bye";
    goodbye->closure(&bye, goodbye->call);
    rpc_call_finish(goodbye->call);
}

static void chat(Toy__V1__Toy_Service *service, const Toy__V1__Note *input, Toy__V1__Note_Closure closure,
                 void *closure_data) {
    struct rpc_call *call = rpc_call_of(closure_data);
    if (!input) {
        rpc_call_on_cancel(call, drop_call, call);
        return;
    }
    if (starts(input->text, "meta")) {
        add_metadata(call);
        rpc_call_send_headers(call);
        return;
    }
    if (starts(input->text, "pause")) {
        rpc_call_pause_reading(call);
        hold((struct toy *)service, true, input, closure, call);
        return;
    }
    if (starts(input->text, "fail")) {
        fail(call);
        return;
    }
    if (starts(input->text, "hello")) {
        struct goodbye *goodbye = rpc_call_alloc(call, sizeof *goodbye);
        *goodbye = (struct goodbye){.closure = closure, .call = call};
        rpc_call_on_half_close(call, say_goodbye, goodbye);
    }
    closure(input, closure_data);
}

/* --- server and client --- */

static void on_call_end(void *arg, const char *service, const char *method, int code, int64_t us) {
    struct toy *toy = arg;
    cr_assert_geq(us, 0);
    pthread_mutex_lock(&toy->lock);
    toy->ends[code]++;
    snprintf(toy->last_end, sizeof toy->last_end, "%s %s %s", service, method, rpc_code_name(code));
    pthread_cond_broadcast(&toy->changed);
    pthread_mutex_unlock(&toy->lock);
}

struct rpc_server_options toy_options(struct toy *toy) {
    struct rpc_server_options options = {.listen = "127.0.0.1:0",
                                         .pollers = 2,
                                         .max_message_bytes = 100000,
                                         .max_concurrent_streams = 1000,
                                         .max_metadata_bytes = 8192,
                                         .on_call_end = toy ? on_call_end : NULL,
                                         .on_call_end_arg = toy};
    options.descriptor_set = toy_descriptor_set(&options.descriptor_set_size);
    return options;
}

struct toy *toy_new(const struct rpc_server_options *options) {
    struct toy *toy = calloc(1, sizeof *toy);
    pthread_mutex_init(&toy->lock, NULL);
    pthread_cond_init(&toy->changed, NULL);
    struct rpc_server_options with_end = options ? *options : toy_options(toy);
    with_end.on_call_end = on_call_end;
    with_end.on_call_end_arg = toy;
    if (getenv("TOY_TAKEN") && !with_end.early.path)
        with_end.early = (struct rpc_early){.path = "/toy.v1.Toy/Echo", .answer_bytes = TOY_ANSWER_BYTES};
    struct err err = {0};
    toy__v1__toy__init(&toy->service, NULL);
    toy->service.echo = echo;
    toy->service.list = list;
    toy->service.collect = collect;
    toy->service.chat = chat;
    cr_assert(rpc_server_new(&with_end, &toy->server, &err), "%s", err.text);
    cr_assert(rpc_server_add(toy->server, &toy->service.base, TOY_METHODS, 4, &err), "%s", err.text);
    toy->health = rpc_health_add(toy->server, &err);
    cr_assert(toy->health != NULL, "%s", err.text);
    cr_assert(rpc_reflection_add(toy->server, &err), "%s", err.text);
    cr_assert(rpc_server_start(toy->server, &err), "%s", err.text);
    const struct rpc_channel_options two = {.pollers = 2};
    cr_assert(rpc_channel_new(rpc_server_address(toy->server), &two, &toy->channel, &err), "%s", err.text);
    static const struct rpc_method health_methods[] = {{"Check", RPC_UNARY}, {"Watch", RPC_SERVER_STREAM}};
    toy->stub = rpc_channel_service(toy->channel, &toy__v1__toy__descriptor, TOY_METHODS, 4);
    toy->health_stub = rpc_channel_service(toy->channel, &grpc__health__v1__health__descriptor, health_methods, 2);
    return toy;
}

void toy_free(struct toy *toy) {
    rpc_channel_free(toy->channel);
    rpc_server_stop(toy->server, 0, NULL);
    rpc_server_free(toy->server);
    pthread_cond_destroy(&toy->changed);
    pthread_mutex_destroy(&toy->lock);
    free(toy);
}

struct toy_held *toy_take_held(struct toy *toy) {
    TOY_WAIT(toy, toy->held != NULL);
    pthread_mutex_lock(&toy->lock);
    struct toy_held *held = toy->held;
    toy->held = held->next;
    pthread_mutex_unlock(&toy->lock);
    return held;
}

void toy_answer(struct toy_held *held, const char *text) {
    struct rpc_call *call = held->call;
    bool is_stream = held->is_stream;
    bool is_counted = !starts(held->input->text, "hold-obedient");
    Toy__V1__Note answer = TOY__V1__NOTE__INIT;
    answer.text = (char *)text;
    held->closure(&answer, call);
    if (is_stream)
        rpc_call_finish(call);
    if (is_counted)
        rpc_call_unref(call);
}

int toy_cancels(struct toy *toy) {
    pthread_mutex_lock(&toy->lock);
    int cancels = toy->cancels;
    pthread_mutex_unlock(&toy->lock);
    return cancels;
}

void toy_wait_for_cancels(struct toy *toy, int n) {
    TOY_WAIT(toy, toy->cancels >= n);
}

void toy_wait_for_ends(struct toy *toy, int code, int n) {
    TOY_WAIT(toy, toy->ends[code] >= n);
}

/* Nothing signals that a call has gone, so this polls. */
void toy_wait_for_in_flight(struct toy *toy, int64_t n) {
    int64_t until_us = clock_mono_us() + (int64_t)TOY_WAIT_MS * US_PER_MS;
    while (rpc_server_in_flight(toy->server) != n) {
        cr_assert_lt(clock_mono_us(), until_us, "in flight: %ld", (long)rpc_server_in_flight(toy->server));
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* --- calls --- */

static void on_message(const ProtobufCMessage *message, void *closure_data) {
    struct toy_call *call = closure_data;
    const Toy__V1__Note *note = (const Toy__V1__Note *)message;
    pthread_mutex_lock(&call->lock);
    cr_assert_not(call->is_done);
    if (call->n_messages < 1000)
        call->numbers[call->n_messages] = note->number;
    call->n_messages++;
    call->number = note->number;
    call->is_compressed = rpc_client_call_is_compressed(&call->call);
    snprintf(call->text, sizeof call->text, "%s", note->text);
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->lock);
}

static void on_done(struct rpc_client_call *base, const struct rpc_status *status) {
    struct toy_call *call = (struct toy_call *)base;
    pthread_mutex_lock(&call->lock);
    cr_assert_not(call->is_done);
    const char *trailer = rpc_client_call_trailer(base, "x-toy-trailer-bin", &call->trailer_len);
    if (trailer && call->trailer_len <= sizeof call->trailer)
        memcpy(call->trailer, trailer, call->trailer_len);
    call->is_done = true;
    call->code = status->code;
    snprintf(call->message, sizeof call->message, "%s", status->message ? status->message : "");
    if (status->details) {
        cr_assert_leq(status->details_len, sizeof call->details);
        call->details_len = status->details_len;
        memcpy(call->details, status->details, status->details_len);
    }
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->lock);
}

struct toy_call *toy_call_new(void) {
    struct toy_call *call = calloc(1, sizeof *call);
    pthread_mutex_init(&call->lock, NULL);
    pthread_cond_init(&call->changed, NULL);
    call->call.done = on_done;
    return call;
}

void toy_call_begin(struct toy *toy, struct toy_call *call, unsigned method, const char *text, int64_t number) {
    Toy__V1__Note note = TOY__V1__NOTE__INIT;
    note.text = (char *)text;
    note.number = number;
    toy->stub->invoke(toy->stub, method, &note.base, on_message, call);
}

struct toy_call *toy_call_open(struct toy *toy, unsigned method) {
    struct toy_call *call = toy_call_new();
    rpc_client_call_open(toy->stub, method, on_message, &call->call);
    return call;
}

struct toy_call *toy_call_start(struct toy *toy, unsigned method, const char *text, int64_t number,
                                int64_t timeout_ms) {
    struct toy_call *call = toy_call_new();
    call->call.timeout_ms = timeout_ms;
    toy_call_begin(toy, call, method, text, number);
    return call;
}

void toy_call_wait(struct toy_call *call) {
    TOY_WAIT(call, call->is_done);
}

bool toy_call_is_done(struct toy_call *call) {
    pthread_mutex_lock(&call->lock);
    bool is_done = call->is_done;
    pthread_mutex_unlock(&call->lock);
    return is_done;
}

void toy_call_wait_for_messages(struct toy_call *call, int n) {
    TOY_WAIT(call, call->n_messages >= n);
}

void toy_call_free(struct toy_call *call) {
    pthread_cond_destroy(&call->changed);
    pthread_mutex_destroy(&call->lock);
    free(call);
}

struct toy_call *toy_call_run(struct toy *toy, unsigned method, const char *text, int64_t number) {
    struct toy_call *call = toy_call_start(toy, method, text, number, 0);
    toy_call_wait(call);
    return call;
}

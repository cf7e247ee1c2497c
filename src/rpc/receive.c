/* SPDX-License-Identifier: Apache-2.0 */
/* Accepts calls and hands their requests to the services; see call.h for vocabulary and rules.
 *
 * Everything here runs on the call's poller thread, with two exceptions: the thread that starts the server arms the
 * first calls, before there are pollers, and any thread may call call_resume_receiving. */
#include "rpc/call.h"

#include "base/clock.h"
#include "rpc/core.h"

/* Receiving pauses while this many messages wait for the client to read them, and goes on at half of it. */
#define PENDING_WRITES_MAX 16
#define METHOD_TEXT_MAX    200  /* bytes of an unknown method's name in the refusal */
#define HEADER_OVERHEAD    32   /* bytes that HTTP/2 counts for each header besides its key and value */
#define RETRY_MS           1000 /* in a refusal for overload, unless on_overload ends the call */

static op_fn on_accepted;

void call_arm(struct server_poller *poller, const struct method *method) {
    struct rpc_call *call = call_acquire(poller, method);
    grpc_server *core = poller->server->core;
    grpc_completion_queue *queue = poller->base.queue;
    void *tag = op_arm(&call->accept_op, on_accepted);
    grpc_call_error error =
        method ? grpc_server_request_registered_call(
                     core, method->registered, &call->core, &call->deadline, &call->metadata,
                     shape_takes_one(method->shape) ? &call->incoming : NULL, queue, queue, tag)
               : grpc_server_request_call(core, &call->core, &call->details, &call->metadata, queue, queue, tag);
    if (error != GRPC_CALL_OK)
        call_abandon(call);
}

/* --- requests --- */

static void refuse_bad_fields(struct rpc_call *call, const struct rpc_bad_fields *bad) {
    const struct rpc_server_options *options = &call->server->options;
    if (options->on_bad_fields)
        options->on_bad_fields(options->on_bad_fields_arg, call, bad);
    /* does nothing if on_bad_fields has ended the call */
    call_refuse(call, RPC_INVALID_ARGUMENT, "%s %s", bad->list[0].field, bad->list[0].problem);
}

/* The most bytes that the next message may have, by the limits of server, method and call. */
static size_t message_bytes_max(const struct rpc_call *call) {
    const struct rpc_limits *limits = &call->method->limits;
    size_t max = call->server->options.max_message_bytes;
    if (limits->message_bytes && limits->message_bytes < max)
        max = limits->message_bytes;
    if (limits->call_bytes) {
        size_t left = limits->call_bytes > call->received_bytes ? limits->call_bytes - call->received_bytes : 0;
        max = left < max ? left : max;
    }
    return max;
}

/* Checks and decodes a message. NULL: the call was refused. */
static ProtobufCMessage *decode(struct rpc_call *call, struct arena *arena, const uint8_t *bytes, size_t len) {
    const ProtobufCMessageDescriptor *descriptor = call->method->descriptor->input;
    struct rpc_bad_fields bad;
    ProtobufCMessage *message = NULL;
    call->received_bytes += len;
    bool is_well_formed = message_check(descriptor, bytes, len, arena, &bad);
    if (is_well_formed && bad.n > 0)
        refuse_bad_fields(call, &bad);
    else if (!is_well_formed || !(message = message_unpack(descriptor, arena, bytes, len)))
        call_refuse(call, RPC_INVALID_ARGUMENT, "cannot decode the request as %s", descriptor->name);
    return message;
}

static void refuse_too_large(struct rpc_call *call, size_t max) {
    call_refuse(call, RPC_RESOURCE_EXHAUSTED, "the request is larger than the %zu bytes that its call may still send",
                max);
}

/* Decompresses, checks and decodes the message that has come. NULL: the call was refused. */
static ProtobufCMessage *take_message(struct rpc_call *call, struct arena *arena) {
    grpc_byte_buffer *incoming = call->incoming;
    call->incoming = NULL;
    call->is_compressed = message_is_compressed(incoming);
    call->is_large |= call->is_compressed || grpc_byte_buffer_length(incoming) > LARGE_MESSAGE_BYTES;
    const uint8_t *bytes;
    size_t len, max = message_bytes_max(call);
    ProtobufCMessage *message = NULL;
    enum message_bytes_result result = message_bytes(incoming, max, arena, &bytes, &len);
    if (result == MESSAGE_TOO_LARGE) {
        refuse_too_large(call, max);
    } else if (result == MESSAGE_BROKEN) {
        call_refuse(call, RPC_INVALID_ARGUMENT,
                    "cannot decompress the request: it is not what grpc-encoding says, or it is damaged");
    } else {
        message = decode(call, arena, bytes, len);
    }
    grpc_byte_buffer_destroy(incoming);
    return message;
}

static void invoke(struct rpc_call *call, const ProtobufCMessage *message) {
    ProtobufCService *impl = call->method->service->impl;
    impl->invoke(impl, call->method->index, message, call_respond, call);
}

static void dispatch(struct rpc_call *call, struct arena *arena) {
    ProtobufCMessage *message = take_message(call, arena);
    if (message)
        invoke(call, message);
}

static op_fn on_received;

static void start_receive(struct rpc_call *call) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->incoming;
    call_start(call, &op, 1, &call->receive_op, on_received);
}

void call_resume_receiving(struct rpc_call *call) {
    if (!call->receive_paused || call->reading_held || call->life == CALL_ENDED || call->sent == SENT_BROKEN ||
        call->writes.count >= PENDING_WRITES_MAX / 2)
        return;
    call->receive_paused = false;
    start_receive(call);
}

static void receive_next(struct rpc_call *call) {
    pthread_mutex_lock(&call->lock);
    bool ended = call->life == CALL_ENDED;
    call->receive_paused = !ended && (call->reading_held || call->writes.count >= PENDING_WRITES_MAX);
    if (!ended && !call->receive_paused)
        start_receive(call);
    pthread_mutex_unlock(&call->lock);
}

static void half_close(struct rpc_call *call) {
    pthread_mutex_lock(&call->lock);
    void (*fn)(void *arg) = call->on_half_close;
    void *arg = call->on_half_close_arg;
    bool ended = call->life == CALL_ENDED;
    pthread_mutex_unlock(&call->lock);
    if (ended)
        return;
    if (fn)
        fn(arg);
    else
        rpc_call_finish(call);
}

/* The next message of a client or bidi stream. No message: the client has half-closed, or the call is about to be
 * closed, which the close batch reports. */
static void on_received(struct op *op, bool ok) {
    struct rpc_call *call = OWNER_OF(op, struct rpc_call, receive_op);
    if (call->incoming && !call_has_ended(call)) {
        dispatch(call, &call->message_arena);
        arena_reset(&call->message_arena);
        receive_next(call);
    } else if (ok && !call->incoming && !rpc_call_is_cancelled(call)) {
        half_close(call);
    }
    rpc_call_unref(call);
}

/* --- accepting --- */

/* Puts a stream of an own service on the list for call_close_own_streams. False: the server is stopping, and the call
 * was refused. */
static bool join_own_streams(struct rpc_call *call) {
    if (!call->is_own || call->method->shape == RPC_UNARY)
        return true;
    struct rpc_server *server = call->server;
    pthread_mutex_lock(&server->lock);
    bool open = !server->own_closed;
    if (open) {
        call->own_previous = NULL;
        call->own_next = server->own_streams;
        if (call->own_next)
            call->own_next->own_previous = call;
        server->own_streams = call;
        call->is_own_stream = true;
    }
    pthread_mutex_unlock(&server->lock);
    if (!open)
        call_refuse(call, RPC_UNAVAILABLE, STOPPING_TEXT);
    return open;
}

static void refuse_unknown(struct rpc_call *call) {
    size_t len = GRPC_SLICE_LENGTH(call->details.method);
    call_refuse(call, RPC_UNIMPLEMENTED, "unknown method %.*s", (int)(len < METHOD_TEXT_MAX ? len : METHOD_TEXT_MAX),
                (const char *)GRPC_SLICE_START_PTR(call->details.method));
}

/* Calls the service of a client or bidi stream with NULL, before there is a message. */
static void begin_stream(struct rpc_call *call) {
    invoke(call, NULL);
    receive_next(call);
}

static void refuse_overload(struct rpc_call *call) {
    const struct rpc_server_options *options = &call->server->options;
    if (options->on_overload)
        options->on_overload(options->on_overload_arg, call);
    if (!call_has_ended(call))
        rpc_call_retry_after(call, RETRY_MS);
    call_refuse(call, RPC_RESOURCE_EXHAUSTED, "too many calls at a time: try again later");
}

/* Own services have a limit of the same size for themselves, so that health checks are answered under overload. */
static bool is_one_too_many(const struct rpc_call *call) {
    struct rpc_server *server = call->server;
    int64_t max = server->options.max_in_flight, own = atomic_load(&server->own_in_flight);
    return max > 0 && (call->is_own ? own : atomic_load(&server->in_flight) - own) > max;
}

/* The core checks metadata only after the client has acknowledged its settings, and then each frame by itself. */
static bool has_too_much_metadata(const struct rpc_call *call) {
    size_t bytes = 0;
    for (size_t i = 0; i < call->metadata.count; i++)
        bytes += GRPC_SLICE_LENGTH(call->metadata.metadata[i].key) +
                 GRPC_SLICE_LENGTH(call->metadata.metadata[i].value) + HEADER_OVERHEAD;
    return bytes > call->server->options.max_metadata_bytes;
}

/* False: the call was refused. */
static bool let_in(struct rpc_call *call) {
    struct rpc_server *server = call->server;
    const struct rpc_server_options *options = &server->options;
    if (is_one_too_many(call)) {
        refuse_overload(call);
        return false;
    }
    if (has_too_much_metadata(call)) {
        call_refuse(call, RPC_RESOURCE_EXHAUSTED, "the metadata is larger than %zu bytes", options->max_metadata_bytes);
        return false;
    }
    if (options->allow && !options->allow(options->allow_arg, call, call_service_name(call), call_method_name(call))) {
        call_refuse(call, RPC_PERMISSION_DENIED, "this caller may not do that");
        return false;
    }
    if (!call->is_own && server->callers) {
        uint64_t key = call->caller_key ? call->caller_key : call_address_key(call);
        call->caller = callers_enter(server->callers, key, call->start_us);
        if (!call->caller)
            refuse_overload(call);
        return call->caller != NULL;
    }
    return true;
}

static void refuse_late(struct rpc_call *call) {
    const struct rpc_server_options *options = &call->server->options;
    call->is_late = true;
    atomic_fetch_add(&call->server->refused, 1);
    if (options->on_stopping)
        options->on_stopping(options->on_stopping_arg, call);
    call_refuse(call, RPC_UNAVAILABLE, STOPPING_TEXT);
}

/* Refuses a call that may not be made now. False: it was refused. */
static bool admit(struct rpc_call *call) {
    /* Own services answer at once, and report the stop themselves. */
    bool is_late = atomic_load(&call->server->draining) && !call->is_own;
    if (is_late)
        refuse_late(call);
    return !is_late && let_in(call);
}

static void receive(struct rpc_call *call) {
    if (!admit(call))
        return;
    if (!call->method)
        refuse_unknown(call);
    else if (!join_own_streams(call))
        return;
    else if (!shape_takes_one(call->method->shape))
        begin_stream(call);
    else if (call->incoming)
        dispatch(call, &call->arena);
    else /* the client half-closed without a request, or the core has refused it as too large */
        call_refuse(call, RPC_INVALID_ARGUMENT, "no request came, or only a part of one");
}

void call_receive_taken(struct rpc_call *call, const uint8_t *bytes, size_t len) {
    size_t max = message_bytes_max(call);
    atomic_fetch_add(&call->server->in_flight, 1);
    atomic_fetch_add_explicit(&call->server->n_taken, 1, memory_order_relaxed);
    call->life = CALL_ACCEPTED;
    rpc_call_ref(call); /* keeps the call here even if the service answers at once */
    bool is_in = admit(call);
    if (is_in && len > max)
        refuse_too_large(call, max);
    const ProtobufCMessage *message = is_in && len <= max ? decode(call, &call->arena, bytes, len) : NULL;
    if (message)
        invoke(call, message);
    rpc_call_unref(call);
}

static void on_accepted(struct op *op, bool ok) {
    struct rpc_call *call = OWNER_OF(op, struct rpc_call, accept_op);
    if (!ok) { /* the core is shutting down */
        call_abandon(call);
        return;
    }
    struct rpc_server *server = call->server;
    /* First of all: a call in flight keeps the queue and the server alive. */
    atomic_fetch_add(&server->in_flight, 1);
    call->is_own = call->method && call->method->service->own;
    if (call->is_own)
        atomic_fetch_add(&server->own_in_flight, 1);
    if (!atomic_load(&server->stopping))
        call_arm(call->poller, call->method);
    call->life = CALL_ACCEPTED;
    call->start_us = clock_mono_us();
    call->deadline_us = core_time_us(call->method ? call->deadline : call->details.deadline);
    rpc_call_ref(call); /* keeps the call here even if the service answers at once */
    if (!call->method || call->method->shape == RPC_UNARY)
        call_watch_later(call);
    else
        call_watch(call);
    receive(call);
    rpc_call_unref(call);
}

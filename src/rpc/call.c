/* SPDX-License-Identifier: Apache-2.0 */
/* A call's life, its answers, and sending them; see call.h for vocabulary and rules.
 *
 * Sending. An answer is put into the call: messages into `writes`, the end into `life` and the status fields. Then
 * call_pump, on the poller's thread, makes the next batch of it, unless a batch is on its way; the op of that batch
 * pumps again. So
 *
 * - a unary answer is one batch: headers, message, status;
 * - a refusal is one batch: headers, status (trailers-only on the wire);
 * - the last message of a stream shares a batch with the status if both are there in time. */
#include "rpc/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "rpc/taken.h"

/* Room for a decoded request of some hundred bytes and a stage's state. With the block's own 32 bytes, malloc is asked
 * for 1 KiB. */
#define ARENA_BLOCK_BYTES 992
#define IDLE_CALLS_MAX    4096 /* kept per poller; about 2 KiB each */
#define REFUSAL_TEXT_MAX  400  /* bytes, in call_refuse */
/* When a deadline passes, the client cancels the call at the same moment as our core does, and either may be first. A
 * call that is cancelled so shortly before its deadline counts as DEADLINE_EXCEEDED. */
#define DEADLINE_SLACK_US 10000

static op_fn on_sent;

/* --- life --- */

static struct rpc_call *call_new(struct server_poller *poller) {
    struct rpc_call *call = memory_new(1, sizeof *call);
    call->server = poller->server;
    call->poller = poller;
    arena_init(&call->arena, ARENA_BLOCK_BYTES);
    arena_init(&call->message_arena, ARENA_BLOCK_BYTES);
    pthread_mutex_init(&call->lock, NULL);
    return call;
}

static void call_free(struct rpc_call *call) {
    arena_deinit(&call->arena);
    arena_deinit(&call->message_arena);
    pthread_mutex_destroy(&call->lock);
    writes_deinit(&call->writes);
    metadata_deinit(&call->headers);
    metadata_deinit(&call->trailers);
    free(call);
}

struct rpc_call *call_acquire(struct server_poller *poller, const struct method *method) {
    pthread_mutex_lock(&poller->lock);
    struct rpc_call *call = poller->idle;
    if (call) {
        poller->idle = call->next_idle;
        poller->n_idle--;
    }
    pthread_mutex_unlock(&poller->lock);
    if (!call)
        call = call_new(poller);
    call->next_idle = NULL;
    atomic_store_explicit(&call->refs, 1, memory_order_relaxed);
    call->method = method;
    call->caller = NULL;
    call->caller_key = 0;
    call->subject = 0;
    call->on_end = NULL;
    call->on_end_arg = NULL;
    call->core = NULL;
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    call->incoming = NULL;
    call->was_cancelled = 0;
    call->is_taken = call->is_end_told = call->is_late = call->is_own = call->is_own_stream = call->is_large =
        call->is_compressed = false;
    call->received_bytes = 0;
    atomic_store_explicit(&call->cancelled, false, memory_order_relaxed);
    atomic_store_explicit(&call->pending_writes, 0, memory_order_relaxed);
    call->life = CALL_ARMED;
    call->watch = WATCH_NONE;
    call->sent = SENT_NOTHING;
    call->sending = call->is_pump_due = call->reading_held = call->receive_paused = false;
    call->outgoing = (struct write){0};
    call->compression = RPC_COMPRESSION_NONE;
    call->compress = false;
    call->state = NULL;
    call->code = RPC_OK;
    call->text = grpc_empty_slice();
    call->on_cancel = call->on_half_close = call->on_drained = NULL;
    return call;
}

/* Frees what the call holds, and puts it into the pool. Any thread. */
static void call_recycle(struct rpc_call *call) {
    struct server_poller *poller = call->poller;
    if (call->watch == WATCH_LATER) /* the core refused a batch of its answer */
        call_unlist(call);
    if (call->caller)
        callers_leave(call->server->callers, call->caller);
    if (call->core)
        grpc_call_unref(call->core);
    grpc_call_details_destroy(&call->details);
    if (call->is_taken)
        taken_deinit(call);
    grpc_metadata_array_destroy(&call->metadata);
    if (call->incoming)
        grpc_byte_buffer_destroy(call->incoming);
    grpc_slice_unref(call->text);
    metadata_clear(&call->headers);
    metadata_clear(&call->trailers);
    if (call->is_large) {
        arena_deinit(&call->arena);
        arena_deinit(&call->message_arena);
    }
    arena_reset(&call->arena);
    arena_reset(&call->message_arena);

    pthread_mutex_lock(&poller->lock);
    bool keep = poller->n_idle < IDLE_CALLS_MAX;
    if (keep) {
        call->next_idle = poller->idle;
        poller->idle = call;
        poller->n_idle++;
    }
    pthread_mutex_unlock(&poller->lock);
    if (!keep)
        call_free(call);
}

/* Once the server is stopping, it may be freed as soon as its last call is gone. Nothing may touch it afterwards. */
static void count_gone(struct rpc_server *server) {
    if (!atomic_load(&server->stopping)) {
        atomic_fetch_sub(&server->in_flight, 1); /* if rpc_server_stop has just begun, its next tick sees this */
        return;
    }
    pthread_mutex_lock(&server->lock);
    atomic_fetch_sub(&server->in_flight, 1);
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

void rpc_call_ref(struct rpc_call *call) {
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
}

void rpc_call_unref(struct rpc_call *call) {
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct rpc_server *server = call->server;
    if (call->is_late)
        atomic_fetch_sub(&server->refused, 1);
    if (call->is_own)
        atomic_fetch_sub(&server->own_in_flight, 1);
    if (call->is_taken)
        taken_tell_end(call);
    call_recycle(call);
    count_gone(server);
}

void call_abandon(struct rpc_call *call) {
    call_recycle(call);
}

void call_pool_deinit(struct server_poller *poller) {
    while (poller->idle) {
        struct rpc_call *call = poller->idle;
        poller->idle = call->next_idle;
        call_free(call);
    }
}

bool call_start(struct rpc_call *call, const grpc_op *ops, size_t n, struct op *op, op_fn *fn) {
    grpc_call *core = call->core;
    rpc_call_ref(call);
    if (grpc_call_start_batch(core, ops, n, op_arm(op, fn), NULL) == GRPC_CALL_OK)
        return true;
    grpc_call_cancel(core, NULL);
    atomic_fetch_sub_explicit(&call->refs, 1, memory_order_relaxed); /* the caller has another */
    return false;
}

/* --- sending --- */

/* Lock held. */
static void drop_writes(struct rpc_call *call) {
    atomic_fetch_sub(&call->pending_writes, call->writes.count);
    writes_clear(&call->writes);
}

static grpc_op headers_op(struct rpc_call *call) {
    grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    /* A level rather than an algorithm: the core then takes an algorithm that the client accepts, or none. */
    if (call->compression != RPC_COMPRESSION_NONE) {
        op.data.send_initial_metadata.maybe_compression_level.is_set = 1;
        op.data.send_initial_metadata.maybe_compression_level.level =
            call->compression == RPC_COMPRESSION_DEFLATE ? GRPC_COMPRESS_LEVEL_HIGH : GRPC_COMPRESS_LEVEL_LOW;
    }
    op.data.send_initial_metadata.count = call->headers.n;
    op.data.send_initial_metadata.metadata = call->headers.items;
    return op;
}

static grpc_op status_op(struct rpc_call *call) {
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = (grpc_status_code)call->code;
    op.data.send_status_from_server.status_details = GRPC_SLICE_LENGTH(call->text) ? &call->text : NULL;
    op.data.send_status_from_server.trailing_metadata_count = call->trailers.n;
    op.data.send_status_from_server.trailing_metadata = call->trailers.items;
    return op;
}

static grpc_op close_op(struct rpc_call *call) {
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->was_cancelled;
    return op;
}

void call_pump(struct rpc_call *call) {
    if (call->is_taken) {
        taken_pump(call);
        return;
    }
    if (call->sent == SENT_BROKEN || atomic_load_explicit(&call->cancelled, memory_order_relaxed)) {
        drop_writes(call);
        call_watch_now(call); /* no status goes out that could bring the close with it */
        return;
    }
    bool message = call->writes.count > 0;
    bool status = call->life == CALL_ENDED && call->writes.count <= 1;
    bool headers = call->sent == SENT_HEADERS_WANTED;
    if (call->sending || call->sent == SENT_STATUS || !(message || status || headers))
        return;
    grpc_op ops[4];
    size_t n = 0;
    if (call->sent < SENT_HEADERS)
        ops[n++] = headers_op(call);
    if (message) {
        call->outgoing = writes_pop(&call->writes);
        ops[n++] = write_op(&call->outgoing);
    }
    if (status)
        ops[n++] = status_op(call);
    if (status && call->watch == WATCH_LATER) {
        call->watch = WATCH_WITH_STATUS;
        call_unlist(call);
        ops[n++] = close_op(call);
    }
    call->sent = status ? SENT_STATUS : SENT_HEADERS;
    call->sending = true;
    if (!call_start(call, ops, n, &call->send_op, on_sent)) {
        call->sending = false;
        call->sent = SENT_BROKEN;
    }
}

static void closed(struct rpc_call *call);

/* --- events of the core --- */

/* A failed send is normal: the client has left, and the close batch reports that. */
static void on_sent(struct op *op, bool ok) {
    struct rpc_call *call = OWNER_OF(op, struct rpc_call, send_op);
    pthread_mutex_lock(&call->lock);
    call->sending = false;
    if (call->outgoing.buffer) {
        grpc_byte_buffer_destroy(call->outgoing.buffer);
        call->outgoing.buffer = NULL;
        atomic_fetch_sub(&call->pending_writes, 1);
    }
    if (!ok) {
        call->sent = SENT_BROKEN;
        atomic_store(&call->cancelled, true); /* stops a service that writes in a loop; the close batch follows */
    }
    bool closes = call->watch == WATCH_WITH_STATUS;
    call_pump(call);
    call_resume_receiving(call);
    bool is_drained = !call->sending && call->life != CALL_ENDED && call->sent != SENT_BROKEN;
    void (*fn)(void *arg) = is_drained ? call->on_drained : NULL;
    void *arg = call->on_drained_arg;
    pthread_mutex_unlock(&call->lock);
    if (fn)
        fn(arg);
    if (closes)
        closed(call);
    rpc_call_unref(call);
}

/* --- the end --- */

const char *call_service_name(const struct rpc_call *call) {
    return call->method ? call->method->service->impl->descriptor->name : "";
}

const char *call_method_name(const struct rpc_call *call) {
    return call->method ? call->method->descriptor->name : "";
}

static void leave_own_streams(struct rpc_call *call) {
    if (!call->method || !call->method->service->own)
        return;
    struct rpc_server *server = call->server;
    pthread_mutex_lock(&server->lock);
    if (call->is_own_stream) {
        if (call->own_previous)
            call->own_previous->own_next = call->own_next;
        else
            server->own_streams = call->own_next;
        if (call->own_next)
            call->own_next->own_previous = call->own_previous;
        call->is_own_stream = false;
    }
    pthread_mutex_unlock(&server->lock);
}

bool call_run_on_cancel(struct rpc_call *call) {
    pthread_mutex_lock(&call->lock);
    void (*fn)(void *arg) = call->life == CALL_ENDED ? NULL : call->on_cancel;
    void *arg = call->on_cancel_arg;
    call->on_cancel = NULL;
    pthread_mutex_unlock(&call->lock);
    if (fn)
        fn(arg);
    return fn != NULL;
}

int call_code_of_cancelled(const struct rpc_call *call, int64_t now_us) {
    return call->deadline_us - now_us <= DEADLINE_SLACK_US ? RPC_DEADLINE_EXCEEDED : RPC_CANCELLED;
}

void call_tell_end(const struct rpc_call *call, int code, int64_t end_us) {
    const struct rpc_server_options *options = &call->server->options;
    if (options->on_call_end)
        options->on_call_end(options->on_call_end_arg, call_service_name(call), call_method_name(call), code,
                             end_us - call->start_us);
    if (call->on_end)
        call->on_end(call->on_end_arg, code, call->start_us, end_us);
}

/* The core is done with the call: its status is out, or it was cancelled, whatever the service answers now. */
static void closed(struct rpc_call *call) {
    int64_t now_us = clock_mono_us();
    leave_own_streams(call);
    pthread_mutex_lock(&call->lock);
    int code = call->code;
    int64_t end_us = call->life == CALL_ENDED ? call->end_us : now_us;
    if (call->was_cancelled) {
        code = call_code_of_cancelled(call, now_us);
        atomic_store(&call->cancelled, true);
        drop_writes(call);
    }
    pthread_mutex_unlock(&call->lock);
    if (call->was_cancelled)
        call_run_on_cancel(call);
    call_tell_end(call, code, end_us);
}

static void on_closed(struct op *op, bool ok) {
    (void)ok;
    struct rpc_call *call = OWNER_OF(op, struct rpc_call, close_op);
    closed(call);
    rpc_call_unref(call);
}

void call_watch(struct rpc_call *call) {
    call->watch = WATCH_STARTED;
    grpc_op op = close_op(call);
    call_start(call, &op, 1, &call->close_op, on_closed);
}

void call_close_own_streams(struct rpc_server *server) {
    pthread_mutex_lock(&server->lock);
    server->own_closed = true;
    struct rpc_call *call;
    while ((call = server->own_streams)) {
        rpc_call_ref(call);
        server->own_streams = call->own_next;
        if (call->own_next)
            call->own_next->own_previous = NULL;
        call->is_own_stream = false;
        pthread_mutex_unlock(&server->lock);
        if (!call_run_on_cancel(call))
            call_refuse(call, RPC_UNAVAILABLE, STOPPING_TEXT);
        rpc_call_unref(call);
        pthread_mutex_lock(&server->lock);
    }
    pthread_mutex_unlock(&server->lock);
}

/* --- answers --- */

/* Ends the call, with a last message or without. The call takes over `text`, `details` and `message`. The second end of
 * a call does nothing but free them. */
static void call_end(struct rpc_call *call, int code, grpc_slice text, const grpc_slice *details,
                     grpc_byte_buffer *message) {
    pthread_mutex_lock(&call->lock);
    if (call->life == CALL_ENDED) {
        pthread_mutex_unlock(&call->lock);
        grpc_slice_unref(text);
        if (details)
            grpc_slice_unref(*details);
        if (message)
            grpc_byte_buffer_destroy(message);
        return;
    }
    call->life = CALL_ENDED;
    call->end_us = clock_mono_us();
    call->code = code;
    call->text = text;
    if (details)
        metadata_add_reserved(&call->trailers, DETAILS_KEY, *details);
    if (message) {
        writes_push(&call->writes, message, call->compress);
        atomic_fetch_add(&call->pending_writes, 1);
    }
    bool is_to_wake = call_pump_soon(call);
    pthread_mutex_unlock(&call->lock);
    if (is_to_wake)
        call_wake(call);
    rpc_call_unref(call); /* the service's */
}

/* Takes over `message`; NULL: the call was cancelled, and nobody reads it. */
static void call_write(struct rpc_call *call, grpc_byte_buffer *message) {
    pthread_mutex_lock(&call->lock);
    bool take = message && call->life != CALL_ENDED && call->sent != SENT_BROKEN, is_to_wake = false;
    if (take) {
        writes_push(&call->writes, message, call->compress);
        atomic_fetch_add(&call->pending_writes, 1);
        is_to_wake = call_pump_soon(call);
    }
    pthread_mutex_unlock(&call->lock);
    if (is_to_wake)
        call_wake(call);
    if (message && !take)
        grpc_byte_buffer_destroy(message);
}

void call_respond(const ProtobufCMessage *message, void *closure_data) {
    struct rpc_call *call = closure_data;
    const ProtobufCMethodDescriptor *descriptor = call->method->descriptor;
    if (!message || message->descriptor != descriptor->output) {
        call_refuse(call, RPC_INTERNAL, "the service gave no %s", descriptor->output->name);
        return;
    }
    if (call->is_taken) {
        taken_respond(call, message);
        return;
    }
    grpc_byte_buffer *packed = atomic_load(&call->cancelled) ? NULL : message_pack(message);
    if (shape_gives_one(call->method->shape))
        call_end(call, RPC_OK, grpc_empty_slice(), NULL, packed);
    else
        call_write(call, packed);
}

void rpc_call_fail(struct rpc_call *call, const struct rpc_status *status) {
    int code = status->code > RPC_OK && status->code < RPC_CODES ? status->code : RPC_UNKNOWN;
    grpc_slice text = status->message ? grpc_slice_from_copied_string(status->message) : grpc_empty_slice();
    if (!status->details) {
        call_end(call, code, text, NULL, NULL);
        return;
    }
    grpc_slice details = grpc_slice_from_copied_buffer(status->details, status->details_len);
    call_end(call, code, text, &details, NULL);
}

void call_refuse(struct rpc_call *call, int code, const char *format, ...) {
    char text[REFUSAL_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    rpc_call_fail(call, &(struct rpc_status){.code = code, .message = text});
}

void rpc_call_finish(struct rpc_call *call) {
    if (call->method && !shape_gives_one(call->method->shape))
        call_end(call, RPC_OK, grpc_empty_slice(), NULL, NULL);
    else
        call_refuse(call, RPC_INTERNAL, "the service gave no response");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A client's calls. channel.c has the channels, operation.h the vocabulary.
 *
 * An operation belongs to one poller of its channel; calls take the pollers in turn. All ops of an operation run on its
 * poller's thread. The call's lock guards what other threads may touch as well: sending, paused reading, cancelling.
 * That lock is the call's field `operation`: it points to the operation, or is BUSY while a thread holds the lock, or
 * is NULL before the call and from its end on. A thread holds it for a few instructions and the start of a batch, never
 * while foreign code runs. A poller's `lock` guards its list of operations in flight and its pool.
 *
 * A call may wait for an address before it begins (pick.c). Until then its operation has no core call.
 *
 * A unary call is one batch, and takes the lock only at its end. Other calls have several batches: the status; each
 * message received, the first one together with the headers unless on_headers is set; and what is sent (pump), as on
 * the server. `outstanding` counts the batches that are not back yet. At zero the call has ended. */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rpc/operation.h"
#include "rpc/pick.h"

#define ARENA_BLOCK_BYTES   2048
#define IDLE_OPERATIONS_MAX 1024 /* kept per poller; about 3 KiB each */

/* --- operations --- */

static struct operation *operation_new(struct client_poller *poller) {
    struct operation *operation = memory_new(1, sizeof *operation);
    operation->poller = poller;
    arena_init(&operation->arena, ARENA_BLOCK_BYTES);
    return operation;
}

void operation_free(struct operation *operation) {
    arena_deinit(&operation->arena);
    metadata_deinit(&operation->metadata);
    writes_deinit(&operation->writes);
    free(operation);
}

static struct operation *operation_acquire(struct client_poller *poller) {
    pthread_mutex_lock(&poller->lock);
    struct operation *operation = poller->idle;
    if (operation) {
        poller->idle = operation->next;
        poller->n_idle--;
    } else {
        operation = operation_new(poller);
    }
    operation->previous = NULL;
    operation->next = poller->in_flight;
    if (operation->next)
        operation->next->previous = operation;
    poller->in_flight = operation;
    operation->core = NULL;
    pthread_mutex_unlock(&poller->lock);
    operation->outstanding = 0;
    operation->outgoing = (struct write){0};
    operation->incoming = NULL;
    operation->received_bytes = 0;
    operation->sent = REQUEST_NOTHING;
    operation->sending = operation->close_wanted = false;
    operation->reading_held = operation->receive_paused = operation->is_compressed = false;
    operation->cancel_wanted = false;
    operation->code = GRPC_STATUS_UNKNOWN;
    operation->text = grpc_empty_slice();
    operation->is_failed = false;
    grpc_metadata_array_init(&operation->headers);
    grpc_metadata_array_init(&operation->trailers);
    return operation;
}

static void operation_release(struct operation *operation) {
    struct client_poller *poller = operation->poller;
    grpc_metadata_array_destroy(&operation->headers);
    grpc_metadata_array_destroy(&operation->trailers);
    grpc_slice_unref(operation->text);
    if (operation->outgoing.buffer)
        grpc_byte_buffer_destroy(operation->outgoing.buffer);
    metadata_clear(&operation->metadata);
    writes_clear(&operation->writes);
    if (operation->incoming)
        grpc_byte_buffer_destroy(operation->incoming);
    arena_reset(&operation->arena);

    grpc_call *core = operation->core;
    pthread_mutex_lock(&poller->lock);
    *(operation->previous ? &operation->previous->next : &poller->in_flight) = operation->next;
    if (operation->next)
        operation->next->previous = operation->previous;
    poller->n_ending++;
    bool keep = poller->n_idle < IDLE_OPERATIONS_MAX;
    if (keep) {
        operation->next = poller->idle;
        poller->idle = operation;
        poller->n_idle++;
    }
    pthread_mutex_unlock(&poller->lock);
    grpc_call_unref(core); /* only now: rpc_channel_free cancels what is in the list */
    if (!keep)
        operation_free(operation);

    pthread_mutex_lock(&poller->lock);
    if (--poller->n_ending == 0 && !poller->in_flight)
        pthread_cond_broadcast(&poller->empty);
    pthread_mutex_unlock(&poller->lock); /* the last use of the poller: it may be freed now */
}

__attribute__((format(printf, 3, 4))) static void operation_fail(struct operation *operation, int code,
                                                                 const char *format, ...) {
    if (operation->is_failed)
        return;
    operation->is_failed = true;
    operation->own_code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(operation->own_text, sizeof operation->own_text, format, args);
    va_end(args);
}

static void operation_start(struct operation *operation, const grpc_op *ops, size_t n, struct op *op, op_fn *fn) {
    grpc_call *core = operation->core;
    grpc_call_start_batch(core, ops, n, op_arm(op, fn), NULL); /* fails only by a defect of the bridge */
}

/* --- the call's lock --- */

#define BUSY ((void *)-1)

/* NULL: the call has not begun or is over, and nothing is locked. */
static struct operation *call_lock(struct rpc_client_call *call) {
    for (;;) {
        void *is = __atomic_load_n(&call->operation, __ATOMIC_RELAXED);
        if (!is)
            return NULL;
        if (is != BUSY &&
            __atomic_compare_exchange_n(&call->operation, &is, BUSY, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return is;
        if (is == BUSY)
            sched_yield();
    }
}

static void call_unlock(struct rpc_client_call *call, struct operation *operation) {
    __atomic_store_n(&call->operation, operation, __ATOMIC_RELEASE);
}

/* --- the end --- */

/* The call's `operation` is NULL by now, so no other thread works on the call. */
static void operation_end(struct operation *operation) {
    struct rpc_status status = {.code = operation->own_code, .message = operation->own_text};
    if (!operation->is_failed) {
        status.code = (int)operation->code;
        size_t len = GRPC_SLICE_LENGTH(operation->text);
        char *text = arena_alloc(&operation->arena, len + 1);
        memcpy(text, GRPC_SLICE_START_PTR(operation->text), len);
        text[len] = '\0';
        status.message = text;
        status.details = metadata_find(&operation->trailers, DETAILS_KEY, &status.details_len);
    }
    operation->call->done(operation->call, &status); /* from here on the call is its owner's */
    operation_release(operation);
}

static bool fail_message(struct operation *operation, enum message_bytes_result result) {
    const char *name = operation->method->descriptor->output->name;
    if (result == MESSAGE_TOO_LARGE)
        operation_fail(operation, RPC_RESOURCE_EXHAUSTED, "the response %s is larger than its limit", name);
    else
        operation_fail(operation, RPC_INTERNAL, "cannot decode the response as %s", name);
    return false;
}

static size_t message_bytes_max(const struct operation *operation) {
    size_t max = operation->channel->max_message_bytes, all = operation->call->max_call_bytes;
    size_t left = all > operation->received_bytes ? all - operation->received_bytes : 0;
    return all && left < max ? left : max;
}

/* Decodes the message in `incoming` and hands it to the closure. False: it is too large or can't be decoded, and the
 * operation has failed. */
static bool deliver(struct operation *operation) {
    const ProtobufCMessageDescriptor *descriptor = operation->method->descriptor->output;
    operation->is_compressed = message_is_compressed(operation->incoming);
    bool is_large = operation->is_compressed || grpc_byte_buffer_length(operation->incoming) > LARGE_MESSAGE_BYTES;
    const uint8_t *bytes;
    size_t len;
    ProtobufCMessage *message = NULL;
    enum message_bytes_result result =
        message_bytes(operation->incoming, message_bytes_max(operation), &operation->arena, &bytes, &len);
    if (result == MESSAGE_OK)
        message = message_unpack(descriptor, &operation->arena, bytes, len);
    bool ok = message || fail_message(operation, result);
    if (ok) {
        operation->received_bytes += len;
        operation->closure(message, operation->call);
    }
    grpc_byte_buffer_destroy(operation->incoming);
    operation->incoming = NULL;
    if (is_large)
        arena_deinit(&operation->arena);
    arena_reset(&operation->arena);
    return ok;
}

/* Ends a call with one response, which must be there if the code is OK. */
static void end_with_response(struct operation *operation) {
    if (operation->incoming && operation->code == GRPC_STATUS_OK)
        deliver(operation);
    else if (operation->code == GRPC_STATUS_OK)
        operation_fail(operation, RPC_INTERNAL, "no response came");
    operation_end(operation);
}

/* Counts a batch that is back. True: it was the last one, and the call has ended. */
static bool leave(struct operation *operation) {
    bool is_last = --operation->outstanding == 0;
    call_unlock(operation->call, is_last ? NULL : operation);
    if (!is_last)
        return false;
    if (operation->method->gives_one && !operation->is_failed)
        end_with_response(operation);
    else
        operation_end(operation);
    return true;
}

/* --- sending; the lock is held --- */

static op_fn on_sent;

static void pump(struct operation *operation) {
    if (operation->sent == REQUEST_BROKEN) {
        writes_clear(&operation->writes);
        return;
    }
    bool headers = operation->sent == REQUEST_NOTHING, message = operation->writes.count > 0;
    bool close = operation->close_wanted && operation->sent != REQUEST_CLOSE && operation->writes.count <= 1;
    if (!operation->core || operation->sending || !(headers || message || close))
        return;
    grpc_op ops[3];
    size_t n = 0;
    if (headers) {
        ops[n] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
        if (operation->call->wait_for_ready)
            ops[n].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
        ops[n].data.send_initial_metadata.count = operation->metadata.n;
        ops[n++].data.send_initial_metadata.metadata = operation->metadata.items;
    }
    if (message) {
        operation->outgoing = writes_pop(&operation->writes);
        ops[n++] = write_op(&operation->outgoing);
    }
    if (close)
        ops[n++] = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    operation->sending = true;
    operation->sent = close ? REQUEST_CLOSE : REQUEST_HEADERS;
    operation->outstanding++;
    operation_start(operation, ops, n, &operation->send_op, on_sent);
}

/* A failed send is normal: the call has ended, and its status says how. */
static void on_sent(struct op *op, bool ok) {
    struct operation *operation = OWNER_OF(op, struct operation, send_op);
    struct rpc_client_call *call = operation->call;
    call_lock(call);
    operation->sending = false;
    if (operation->outgoing.buffer)
        grpc_byte_buffer_destroy(operation->outgoing.buffer);
    operation->outgoing.buffer = NULL;
    if (!ok)
        operation->sent = REQUEST_BROKEN;
    pump(operation);
    bool is_drained = !operation->sending && !operation->close_wanted && operation->sent != REQUEST_BROKEN;
    if (!leave(operation) && is_drained && call->on_drained)
        call->on_drained(call);
}

/* --- receiving --- */

static op_fn on_step;

/* The lock is held. */
static void start_receive(struct operation *operation) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &operation->incoming;
    operation->outstanding++;
    operation_start(operation, &op, 1, &operation->step_op, on_step);
}

static void receive_next(struct operation *operation) {
    if (operation->reading_held)
        operation->receive_paused = true;
    else
        start_receive(operation);
}

/* The whole of a unary call; or the next message of a stream, or its end; or the empty batch of a call that could not
 * begin. */
static void on_step(struct op *op, bool ok) {
    (void)ok;
    struct operation *operation = OWNER_OF(op, struct operation, step_op);
    const struct client_method *method = operation->method;
    if (method->takes_one && method->gives_one && !operation->is_failed) {
        call_lock(operation->call); /* waits for a thread that is cancelling the call */
        call_unlock(operation->call, NULL);
        end_with_response(operation);
        return;
    }
    bool more = operation->incoming && !method->gives_one && deliver(operation);
    call_lock(operation->call);
    if (more)
        receive_next(operation);
    else if (operation->is_failed)
        grpc_call_cancel(operation->core, NULL);
    leave(operation);
}

static void on_status(struct op *op, bool ok) {
    (void)ok;
    struct operation *operation = OWNER_OF(op, struct operation, status_op);
    call_lock(operation->call);
    leave(operation);
}

static void on_headers(struct op *op, bool ok) {
    struct operation *operation = OWNER_OF(op, struct operation, headers_op);
    if (ok)
        operation->call->on_headers(operation->call);
    call_lock(operation->call);
    receive_next(operation);
    leave(operation);
}

/* --- the start --- */

static grpc_op receive_status(struct operation *operation) {
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &operation->trailers;
    op.data.recv_status_on_client.status = &operation->code;
    op.data.recv_status_on_client.status_details = &operation->text;
    return op;
}

static grpc_op receive_headers(struct operation *operation) {
    grpc_op op = {.op = GRPC_OP_RECV_INITIAL_METADATA};
    op.data.recv_initial_metadata.recv_initial_metadata = &operation->headers;
    return op;
}

static grpc_op receive_message(struct operation *operation) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &operation->incoming;
    return op;
}

/* Starts the one batch of a unary call. From then on the call may be over, and its owner's again. */
static void start_unary(struct operation *operation) {
    struct rpc_client_call *call = operation->call;
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}};
    if (call->wait_for_ready)
        ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    ops[0].data.send_initial_metadata.count = operation->metadata.n;
    ops[0].data.send_initial_metadata.metadata = operation->metadata.items;
    ops[1] = write_op(&operation->outgoing);
    ops[2] = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    ops[3] = receive_headers(operation);
    ops[4] = receive_message(operation);
    ops[5] = receive_status(operation);
    call_unlock(call, operation);
    operation_start(operation, ops, 6, &operation->step_op, on_step);
}

/* Starts the batches of a stream. Their ops run on the poller's thread, which waits for the lock until all have
 * started. */
static void start_stream(struct operation *operation) {
    struct rpc_client_call *call = operation->call;
    grpc_op ops[2] = {receive_status(operation)};
    operation->outstanding = 2;
    operation_start(operation, ops, 1, &operation->status_op, on_status);
    ops[0] = receive_headers(operation);
    ops[1] = receive_message(operation);
    if (call->on_headers)
        operation_start(operation, ops, 1, &operation->headers_op, on_headers);
    else
        operation_start(operation, ops, 2, &operation->step_op, on_step);
    pump(operation);
    call_unlock(call, operation);
}

/* Ends the call by an empty batch, because `done` must not run within the function that begins the call. */
static void start_failed(struct operation *operation) {
    operation->outstanding = 1;
    operation_start(operation, NULL, 0, &operation->step_op, on_step);
    call_unlock(operation->call, operation);
}

static gpr_timespec deadline_in(int64_t timeout_ms) {
    if (timeout_ms <= 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}

static void take_metadata(struct operation *operation) {
    const struct rpc_client_call *call = operation->call;
    for (size_t i = 0; i < call->n_metadata; i++)
        if (!metadata_add(&operation->metadata, &call->metadata[i]))
            operation_fail(operation, RPC_INTERNAL, "metadata '%.100s' can't be sent: its key or value is not allowed",
                           call->metadata[i].key);
    const char *credential = operation->channel->credential;
    if (credential)
        metadata_add(&operation->metadata, &(struct rpc_metadatum){"authorization", credential, strlen(credential)});
    metadata_add_compression(&operation->metadata, call->compression);
}

static void take_input(struct operation *operation, const ProtobufCMessage *input) {
    const struct client_method *method = operation->method;
    bool compress = operation->call->compression != RPC_COMPRESSION_NONE;
    if (!method->is_known)
        operation_fail(operation, RPC_UNIMPLEMENTED, "the client's table of methods lacks %s", method->path);
    else if (!input && method->takes_one)
        operation_fail(operation, RPC_INTERNAL, "%s needs a request", method->path);
    else if (method->takes_one && method->gives_one)
        operation->outgoing = (struct write){message_pack(input), compress};
    else if (input)
        writes_push(&operation->writes, message_pack(input), compress);
    operation->close_wanted = method->takes_one;
}

/* Starts the call on one of the channel's cores. The call's lock is held, and released. */
static void begin(struct operation *operation, unsigned index) {
    struct rpc_channel *channel = operation->channel;
    const struct client_method *method = operation->method;
    grpc_call *core = grpc_channel_create_registered_call(channel->cores[index], NULL, GRPC_PROPAGATE_DEFAULTS,
                                                          operation->poller->base->queue, method->registered[index],
                                                          operation->deadline, NULL);
    pthread_mutex_lock(&operation->poller->lock);
    operation->core = core;
    pthread_mutex_unlock(&operation->poller->lock);
    if (operation->cancel_wanted || atomic_load(&channel->is_closing))
        grpc_call_cancel(core, NULL);
    if (operation->is_failed)
        start_failed(operation);
    else if (method->takes_one && method->gives_one)
        start_unary(operation);
    else
        start_stream(operation);
}

void operation_resume(struct operation *operation) {
    call_lock(operation->call);
    begin(operation, operation->core_index);
}

void client_invoke(ProtobufCService *base, unsigned index, const ProtobufCMessage *input, ProtobufCClosure closure,
                   void *closure_data) {
    struct client_service *service = (struct client_service *)base;
    struct rpc_channel *channel = service->channel;
    struct rpc_client_call *call = closure_data;
    unsigned turn = atomic_fetch_add_explicit(&channel->turn, 1, memory_order_relaxed);
    struct operation *operation = operation_acquire(&channel->pollers[turn % channel->n_pollers]);
    operation->deadline = deadline_in(call->timeout_ms);
    operation->channel = channel;
    operation->call = call;
    operation->method = &service->methods[index];
    operation->closure = closure;
    call->received = operation;
    __atomic_store_n(&call->operation, BUSY, __ATOMIC_RELAXED);
    take_metadata(operation);
    take_input(operation, input);
    int core = operation->is_failed ? 0 : pick_core(operation);
    if (core == NO_CORE)
        call_unlock(call, operation);
    else
        begin(operation, (unsigned)core);
}

void rpc_client_call_open(ProtobufCService *service, unsigned index, ProtobufCClosure closure,
                          struct rpc_client_call *call) {
    client_invoke(service, index, NULL, closure, call);
}

/* --- functions for the caller --- */

bool rpc_client_call_write(struct rpc_client_call *call, const ProtobufCMessage *message) {
    struct operation *operation = call_lock(call);
    if (!operation)
        return false;
    bool ok = !operation->close_wanted && operation->sent != REQUEST_BROKEN;
    if (ok) {
        writes_push(&operation->writes, message_pack(message), call->compression != RPC_COMPRESSION_NONE);
        pump(operation);
    }
    call_unlock(call, operation);
    return ok;
}

void rpc_client_call_half_close(struct rpc_client_call *call) {
    struct operation *operation = call_lock(call);
    if (!operation)
        return;
    operation->close_wanted = true;
    pump(operation);
    call_unlock(call, operation);
}

size_t rpc_client_call_pending_writes(struct rpc_client_call *call) {
    struct operation *operation = call_lock(call);
    if (!operation)
        return 0;
    size_t n = operation->writes.count + (operation->outgoing.buffer != NULL);
    call_unlock(call, operation);
    return n;
}

void rpc_client_call_pause_reading(struct rpc_client_call *call) {
    struct operation *operation = call_lock(call);
    if (!operation)
        return;
    operation->reading_held = true;
    call_unlock(call, operation);
}

void rpc_client_call_resume_reading(struct rpc_client_call *call) {
    struct operation *operation = call_lock(call);
    if (!operation)
        return;
    operation->reading_held = false;
    if (operation->receive_paused) {
        operation->receive_paused = false;
        start_receive(operation);
    }
    call_unlock(call, operation);
}

void rpc_client_call_cancel(struct rpc_client_call *call) {
    struct operation *operation = call_lock(call);
    if (!operation)
        return;
    operation->cancel_wanted = true;
    if (operation->core) {
        grpc_call_cancel(operation->core, NULL);
    } else if (pick_withdraw(operation)) {
        begin(operation, 0);
        return;
    }
    call_unlock(call, operation);
}

const char *rpc_client_call_header(const struct rpc_client_call *call, const char *key, size_t *ret_len) {
    const struct operation *operation = call->received;
    return metadata_find(&operation->headers, key, ret_len);
}

const char *rpc_client_call_trailer(const struct rpc_client_call *call, const char *key, size_t *ret_len) {
    const struct operation *operation = call->received;
    return metadata_find(&operation->trailers, key, ret_len);
}

bool rpc_client_call_is_compressed(const struct rpc_client_call *call) {
    const struct operation *operation = call->received;
    return operation->is_compressed;
}

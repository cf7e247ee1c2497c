/* The client: channels, their stubs' services, and calls.
 *
 *   operation   a call in the core: what the caller's rpc_client_call has behind it; pooled
 *
 * An operation belongs to one poller of its channel (they take turns): all its ops run on that thread, so it needs no
 * lock. A poller's `lock` guards its list of operations in flight and its pool.
 *
 * A unary call is one batch. A server stream is two: the status, and everything else up to the first message; then one
 * batch per message. `outstanding` counts those not yet back; at zero the call has ended. Client and bidi streams would
 * be the same with sends of their own.
 *
 * A call's `operation` is taken out while somebody cancels it, and for good before `done`: so the one never works on
 * what the other has released. */
#include "rpc/client.h"

#include <grpc/grpc_security.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "rpc/internal.h"

#define ARENA_BLOCK_BYTES   2048
#define IDLE_OPERATIONS_MAX 1024      /* kept per poller; about 3 KiB each */
#define MESSAGE_BYTES_MAX   (4 << 20) /* unless the options say otherwise; as the core */
#define TEXT_MAX            400
#define DETAILS_KEY         "grpc-status-details-bin"

struct client_poller {
    struct poller base;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t empty;
    struct operation *in_flight;
    struct operation *idle;
    size_t n_idle;
};

struct client_method {
    const ProtobufCMethodDescriptor *descriptor;
    bool is_callable; /* unary or server stream */
    bool gives_one;
    char *path; /* must live as long as the channel */
    void *registered;
};

struct client_service {
    ProtobufCService base; /* first: what the stubs get */
    struct rpc_channel *channel;
    struct client_service *next;
    struct client_method *methods;
};

struct rpc_channel {
    grpc_channel *core;
    struct client_poller *pollers;
    unsigned n_pollers;
    atomic_uint turn;
    pthread_mutex_t lock; /* guards `services` */
    struct client_service *services;
};

struct operation {
    struct client_poller *poller;
    struct operation *previous, *next;
    struct rpc_client_call *call;
    const struct client_method *method;
    ProtobufCClosure closure;
    grpc_call *core;
    struct op step_op, status_op;
    int outstanding;
    grpc_metadata_array headers, trailers;
    grpc_byte_buffer *outgoing, *incoming;
    grpc_status_code code;
    grpc_slice text;
    bool is_failed; /* by us, whatever the core says: own_code and own_text tell how */
    int own_code;
    char own_text[TEXT_MAX];
    struct arena arena;
};

/* --- operations --- */

static struct operation *operation_new(struct client_poller *poller) {
    struct operation *operation = calloc(1, sizeof *operation);
    if (!operation)
        abort(); /* as arenas do */
    operation->poller = poller;
    arena_init(&operation->arena, ARENA_BLOCK_BYTES);
    return operation;
}

static void operation_free(struct operation *operation) {
    arena_deinit(&operation->arena);
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
    operation->outgoing = operation->incoming = NULL;
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
    if (operation->outgoing)
        grpc_byte_buffer_destroy(operation->outgoing);
    if (operation->incoming)
        grpc_byte_buffer_destroy(operation->incoming);
    arena_reset(&operation->arena);

    grpc_call *core = operation->core;
    pthread_mutex_lock(&poller->lock);
    *(operation->previous ? &operation->previous->next : &poller->in_flight) = operation->next;
    if (operation->next)
        operation->next->previous = operation->previous;
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
    if (!poller->in_flight)
        pthread_cond_broadcast(&poller->empty);
    pthread_mutex_unlock(&poller->lock);
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
    grpc_call_start_batch(core, ops, n, op_arm(op, fn), NULL); /* fails for defects of ours only */
}

/* --- the end --- */

static void read_details(const struct operation *operation, struct rpc_status *status) {
    for (size_t i = 0; i < operation->trailers.count; i++) {
        const grpc_metadata *each = &operation->trailers.metadata[i];
        if (grpc_slice_str_cmp(each->key, DETAILS_KEY) == 0) {
            status->details = GRPC_SLICE_START_PTR(each->value);
            status->details_len = GRPC_SLICE_LENGTH(each->value);
            return;
        }
    }
}

static void operation_end(struct operation *operation) {
    struct rpc_status status = {.code = operation->own_code, .message = operation->own_text};
    if (!operation->is_failed) {
        status.code = (int)operation->code;
        size_t len = GRPC_SLICE_LENGTH(operation->text);
        char *text = arena_alloc(&operation->arena, len + 1);
        memcpy(text, GRPC_SLICE_START_PTR(operation->text), len);
        text[len] = '\0';
        status.message = text;
        read_details(operation, &status);
    }
    while (!__atomic_exchange_n(&operation->call->operation, NULL, __ATOMIC_ACQ_REL))
        sched_yield();                               /* it is being cancelled right now */
    operation->call->done(operation->call, &status); /* the call is its owner's again */
    operation_release(operation);
}

/* Hands the message in `incoming` to the closure. False: it can't be decoded, and the operation has failed. */
static bool deliver(struct operation *operation) {
    const ProtobufCMessageDescriptor *descriptor = operation->method->descriptor->output;
    bool is_large = grpc_byte_buffer_length(operation->incoming) > LARGE_MESSAGE_BYTES;
    const uint8_t *bytes;
    size_t len;
    ProtobufCMessage *message = NULL;
    if (message_bytes(operation->incoming, &operation->arena, &bytes, &len))
        message = message_unpack(descriptor, &operation->arena, bytes, len);
    if (message)
        operation->closure(message, operation->call);
    else
        operation_fail(operation, RPC_INTERNAL, "cannot decode the response as %s", descriptor->name);
    grpc_byte_buffer_destroy(operation->incoming);
    operation->incoming = NULL;
    if (is_large)
        arena_deinit(&operation->arena);
    arena_reset(&operation->arena);
    return message != NULL;
}

static void end_unary(struct operation *operation) {
    if (operation->incoming && operation->code == GRPC_STATUS_OK)
        deliver(operation);
    else if (operation->code == GRPC_STATUS_OK)
        operation_fail(operation, RPC_INTERNAL, "no response came");
    operation_end(operation);
}

static op_fn on_step;

static void receive_next(struct operation *operation) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &operation->incoming;
    operation->outstanding++;
    operation_start(operation, &op, 1, &operation->step_op, on_step);
}

/* Of a unary call: everything. Of a stream: the next message, or none. Of one that could not begin: nothing. */
static void on_step(struct op *op, bool ok) {
    (void)ok;
    struct operation *operation = OWNER_OF(op, struct operation, step_op);
    operation->outstanding--;
    if (operation->is_failed && operation->outstanding == 0) {
        operation_end(operation);
    } else if (operation->method->gives_one) {
        end_unary(operation);
    } else if (operation->incoming && deliver(operation)) {
        receive_next(operation);
    } else {
        if (operation->is_failed)
            grpc_call_cancel(operation->core, NULL);
        if (operation->outstanding == 0)
            operation_end(operation);
    }
}

static void on_status(struct op *op, bool ok) {
    (void)ok;
    struct operation *operation = OWNER_OF(op, struct operation, status_op);
    if (--operation->outstanding == 0)
        operation_end(operation);
}

/* --- the start --- */

static grpc_op receive_status(struct operation *operation) {
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &operation->trailers;
    op.data.recv_status_on_client.status = &operation->code;
    op.data.recv_status_on_client.status_details = &operation->text;
    return op;
}

static size_t send_request(struct operation *operation, grpc_op *ops) {
    ops[0] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    if (operation->call->wait_for_ready)
        ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    ops[1] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
    ops[1].data.send_message.send_message = operation->outgoing;
    ops[2] = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    ops[3] = (grpc_op){.op = GRPC_OP_RECV_INITIAL_METADATA};
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &operation->headers;
    ops[4] = (grpc_op){.op = GRPC_OP_RECV_MESSAGE};
    ops[4].data.recv_message.recv_message = &operation->incoming;
    return 5;
}

static void start(struct operation *operation) {
    grpc_op ops[6];
    size_t n = send_request(operation, ops);
    grpc_op status = receive_status(operation);
    if (operation->method->gives_one) {
        ops[n++] = status;
        operation->outstanding = 1;
    } else {
        operation->outstanding = 2;
        operation_start(operation, &status, 1, &operation->status_op, on_status);
    }
    operation_start(operation, ops, n, &operation->step_op, on_step);
}

static gpr_timespec deadline_in(int64_t timeout_ms) {
    if (timeout_ms <= 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}

static void invoke(ProtobufCService *base, unsigned index, const ProtobufCMessage *input, ProtobufCClosure closure,
                   void *closure_data) {
    struct client_service *service = (struct client_service *)base;
    struct rpc_channel *channel = service->channel;
    const struct client_method *method = &service->methods[index];
    struct rpc_client_call *call = closure_data;
    unsigned turn = atomic_fetch_add_explicit(&channel->turn, 1, memory_order_relaxed);
    struct operation *operation = operation_acquire(&channel->pollers[turn % channel->n_pollers]);
    grpc_call *core =
        grpc_channel_create_registered_call(channel->core, NULL, GRPC_PROPAGATE_DEFAULTS, operation->poller->base.queue,
                                            method->registered, deadline_in(call->timeout_ms), NULL);
    pthread_mutex_lock(&operation->poller->lock);
    operation->core = core;
    pthread_mutex_unlock(&operation->poller->lock);
    operation->call = call;
    operation->method = method;
    operation->closure = closure;
    __atomic_store_n(&call->operation, operation, __ATOMIC_RELEASE);
    if (method->is_callable) {
        operation->outgoing = message_pack(input);
        start(operation);
        return;
    }
    operation_fail(operation, RPC_UNIMPLEMENTED, "this client can't call %s: not a unary or server-streaming method",
                   method->path);
    operation->outstanding = 1;
    operation_start(operation, NULL, 0, &operation->step_op, on_step);
}

void rpc_client_call_cancel(struct rpc_client_call *call) {
    struct operation *operation = __atomic_exchange_n(&call->operation, NULL, __ATOMIC_ACQ_REL);
    if (!operation)
        return;
    grpc_call_cancel(operation->core, NULL);
    __atomic_store_n(&call->operation, operation, __ATOMIC_RELEASE);
}

/* --- channels and services --- */

static void add_arg(grpc_channel_args *args, const char *key, int value) {
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)key};
    arg.value.integer = value;
    args->args[args->num_args++] = arg;
}

static grpc_channel *create_core(const char *target, size_t max_message_bytes) {
    grpc_arg room[8];
    grpc_channel_args args = {.args = room};
    add_arg(&args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, max_message_bytes < INT_MAX ? (int)max_message_bytes : INT_MAX);
    add_arg(&args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1); /* a connection per channel */
    add_arg(&args, GRPC_ARG_ENABLE_RETRIES, 0);            /* whoever calls knows whether to try again */
    add_arg(&args, GRPC_ARG_ENABLE_CHANNELZ, 0);
    /* A server that comes back is found again within a second; the core's own default grows to two minutes. */
    add_arg(&args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    add_arg(&args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    /* The target is where to connect to, whatever the environment says. */
    add_arg(&args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *core = grpc_channel_create(target, credentials, &args);
    grpc_channel_credentials_release(credentials);
    return core;
}

static bool start_pollers(struct rpc_channel *channel, unsigned n, struct err *err) {
    channel->pollers = calloc(n, sizeof *channel->pollers);
    if (!channel->pollers)
        return err_set(err, ERR_INTERNAL, BACKEND_NONE, "out of memory");
    while (channel->n_pollers < n) {
        struct client_poller *poller = &channel->pollers[channel->n_pollers++];
        pthread_mutex_init(&poller->lock, NULL);
        pthread_cond_init(&poller->empty, NULL);
        poller_init(&poller->base);
        if (!poller_start(&poller->base, err))
            return false;
    }
    return true;
}

bool rpc_channel_new(const char *target, const struct rpc_channel_options *options, struct rpc_channel **ret_channel,
                     struct err *err) {
    static const struct rpc_channel_options none = {0};
    options = options ? options : &none;
    struct rpc_channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return err_set(err, ERR_INTERNAL, BACKEND_NONE, "out of memory");
    pthread_mutex_init(&channel->lock, NULL);
    core_init();
    channel->core = create_core(target, options->max_message_bytes ? options->max_message_bytes : MESSAGE_BYTES_MAX);
    if (!start_pollers(channel, options->pollers > 0 ? (unsigned)options->pollers : 1, err)) {
        rpc_channel_free(channel);
        return false;
    }
    *ret_channel = channel;
    return true;
}

static void cancel_all(struct client_poller *poller) {
    pthread_mutex_lock(&poller->lock);
    for (struct operation *each = poller->in_flight; each; each = each->next)
        if (each->core)
            grpc_call_cancel(each->core, NULL);
    while (poller->in_flight)
        pthread_cond_wait(&poller->empty, &poller->lock);
    pthread_mutex_unlock(&poller->lock);
}

static void client_poller_deinit(struct client_poller *poller) {
    poller_drain(&poller->base);
    poller_deinit(&poller->base);
    while (poller->idle) {
        struct operation *operation = poller->idle;
        poller->idle = operation->next;
        operation_free(operation);
    }
    pthread_cond_destroy(&poller->empty);
    pthread_mutex_destroy(&poller->lock);
}

static void client_service_free(struct client_service *service) {
    for (unsigned i = 0; service->methods && i < service->base.descriptor->n_methods; i++)
        free(service->methods[i].path);
    free(service->methods);
    free(service);
}

void rpc_channel_free(struct rpc_channel *channel) {
    if (!channel)
        return;
    for (unsigned i = 0; i < channel->n_pollers; i++)
        cancel_all(&channel->pollers[i]);
    grpc_channel_destroy(channel->core);
    for (unsigned i = 0; i < channel->n_pollers; i++)
        client_poller_deinit(&channel->pollers[i]);
    free(channel->pollers);
    while (channel->services) {
        struct client_service *service = channel->services;
        channel->services = service->next;
        client_service_free(service);
    }
    core_deinit();
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

static void client_method_init(struct client_method *method, struct rpc_channel *channel, const char *service,
                               const ProtobufCMethodDescriptor *descriptor, const struct rpc_method *rows, size_t n) {
    method->descriptor = descriptor;
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].name, descriptor->name) == 0) {
            method->is_callable = shape_takes_one(rows[i].shape);
            method->gives_one = shape_gives_one(rows[i].shape);
        }
    struct strbuf path = {0};
    strbuf_printf(&path, "/%s/%s", service, descriptor->name);
    method->path = path.data;
    method->registered = grpc_channel_register_call(channel->core, method->path, NULL, NULL);
}

ProtobufCService *rpc_channel_service(struct rpc_channel *channel, const ProtobufCServiceDescriptor *descriptor,
                                      const struct rpc_method *methods, size_t n_methods) {
    pthread_mutex_lock(&channel->lock);
    struct client_service *service = channel->services;
    while (service && service->base.descriptor != descriptor)
        service = service->next;
    if (!service) {
        service = calloc(1, sizeof *service);
        struct client_method *room = calloc(descriptor->n_methods + 1, sizeof *room);
        if (!service || !room)
            abort();
        *service = (struct client_service){.base = {.descriptor = descriptor, .invoke = invoke},
                                           .channel = channel,
                                           .next = channel->services,
                                           .methods = room};
        for (unsigned i = 0; i < descriptor->n_methods; i++)
            client_method_init(&room[i], channel, descriptor->name, &descriptor->methods[i], methods, n_methods);
        channel->services = service;
    }
    pthread_mutex_unlock(&channel->lock);
    return &service->base;
}

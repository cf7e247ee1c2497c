/* SPDX-License-Identifier: Apache-2.0 */
/* See output.h. The lock of an output guards the responses that it owes. `times.lock` guards the list of outputs that
 * wait for a time, each of which holds a reference to its call. times.lock may be taken under an output's lock, not the
 * other way round. */
#include "output.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

#define PENDING_MAX 16  /* messages that wait in the bridge; beyond this number they stay owed */
#define OWED_MAX    256 /* from here on no more requests are read */

struct owed {
    struct owed *next;
    int32_t size;
    int64_t interval_us;
    bool compressed;
};

struct output {
    struct rpc_call *call;
    ProtobufCClosure closure;
    pthread_mutex_t lock; /* guards what follows */
    struct owed *first, **last;
    size_t n;
    int64_t sent_us; /* when the previous response was sent */
    bool held, closed, ended, paused;

    bool is_waiting; /* times.lock guards this field and the next ones */
    int64_t due_us;
    struct output *next_waiting;
};

static struct {
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct output *waiting;
    bool stop;
} times = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const uint8_t zeros[PAYLOAD_MAX];

bool payload_init(Grpc__Testing__Payload *payload, int32_t size) {
    grpc__testing__payload__init(payload);
    if (size < 0 || size > PAYLOAD_MAX)
        return false;
    payload->body.data = (uint8_t *)(uintptr_t)zeros;
    payload->body.len = (size_t)size;
    return true;
}

/* --- sending --- */

static void wait_until_due(struct output *output, int64_t due_us) {
    pthread_mutex_lock(&times.lock);
    if (!output->is_waiting) {
        rpc_call_ref(output->call);
        output->is_waiting = true;
        output->next_waiting = times.waiting;
        times.waiting = output;
    }
    output->due_us = due_us;
    pthread_cond_signal(&times.changed);
    pthread_mutex_unlock(&times.lock);
}

/* Lock held. */
static void drop_first(struct output *output) {
    struct owed *owed = output->first;
    output->first = owed->next;
    if (!output->first)
        output->last = &output->first;
    output->n--;
    free(owed);
}

/* Lock held. */
static void send_first(struct output *output) {
    Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    Grpc__Testing__Payload payload;
    payload_init(&payload, output->first->size);
    response.payload = &payload;
    rpc_call_set_compression(output->call, output->first->compressed ? RPC_COMPRESSION_GZIP : RPC_COMPRESSION_NONE);
    output->closure(&response.base, output->call);
    output->sent_us = clock_mono_us();
    drop_first(output);
}

/* Sends what can be sent now. Lock held. */
static void pump(struct output *output) {
    while (!output->ended && output->first && !output->held && rpc_call_pending_writes(output->call) < PENDING_MAX) {
        int64_t due_us = output->sent_us + output->first->interval_us;
        if (output->first->interval_us > 0 && due_us > clock_mono_us()) {
            wait_until_due(output, due_us);
            return;
        }
        send_first(output);
    }
    if (output->paused && output->n < OWED_MAX / 2) {
        output->paused = false;
        rpc_call_resume_reading(output->call);
    }
    if (!output->ended && output->closed && !output->first) {
        output->ended = true;
        rpc_call_finish(output->call);
    }
}

static void on_drained(void *arg) {
    struct output *output = arg;
    pthread_mutex_lock(&output->lock);
    pump(output);
    pthread_mutex_unlock(&output->lock);
}

/* Lock held. */
static void end(struct output *output, const struct rpc_status *status) {
    while (output->first)
        drop_first(output);
    if (!output->ended)
        rpc_call_fail(output->call, status);
    output->ended = true;
}

/* Takes the output off the list of those that wait for a time. Returns whether it was on the list. */
static bool stop_waiting(struct output *output) {
    pthread_mutex_lock(&times.lock);
    bool was_waiting = output->is_waiting;
    struct output **at = &times.waiting;
    while (was_waiting && *at != output)
        at = &(*at)->next_waiting;
    if (was_waiting)
        *at = output->next_waiting;
    output->is_waiting = false;
    pthread_mutex_unlock(&times.lock);
    return was_waiting;
}

static void on_cancel(void *arg) {
    struct output *output = arg;
    struct rpc_call *call = output->call;
    pthread_mutex_lock(&output->lock);
    end(output, &(struct rpc_status){.code = RPC_CANCELLED});
    bool was_waiting = stop_waiting(output);
    pthread_mutex_unlock(&output->lock);
    if (was_waiting)
        rpc_call_unref(call);
}

/* --- for the service --- */

static void on_half_close(void *arg) {
    output_close(arg);
}

struct output *output_new(struct rpc_call *call, ProtobufCClosure closure, bool held) {
    struct output *output = rpc_call_alloc(call, sizeof *output);
    *output = (struct output){.call = call, .closure = closure, .held = held, .sent_us = clock_mono_us()};
    output->last = &output->first;
    pthread_mutex_init(&output->lock, NULL);
    /* Allows gzip for each response; without gzip they are sent plain. */
    rpc_call_set_compression(call, RPC_COMPRESSION_GZIP);
    rpc_call_on_drained(call, on_drained, output);
    rpc_call_on_half_close(call, on_half_close, output);
    rpc_call_on_cancel(call, on_cancel, output);
    return output;
}

/* Lock held. */
static bool owe(struct output *output, const Grpc__Testing__ResponseParameters *wanted) {
    if (wanted->size < 0 || wanted->size > PAYLOAD_MAX || wanted->interval_us < 0) {
        end(output, &(struct rpc_status){.code = RPC_INVALID_ARGUMENT, .message = "the size or interval is invalid"});
        return false;
    }
    struct owed *owed = calloc(1, sizeof *owed);
    if (!owed)
        abort(); /* out of memory: the test fails in any case */
    *owed = (struct owed){.size = wanted->size,
                          .interval_us = wanted->interval_us,
                          .compressed = wanted->compressed && wanted->compressed->value};
    *output->last = owed;
    output->last = &owed->next;
    output->n++;
    return true;
}

bool output_add(struct output *output, const Grpc__Testing__StreamingOutputCallRequest *request) {
    pthread_mutex_lock(&output->lock);
    bool ok = !output->ended;
    if (ok && request->response_status && request->response_status->code != RPC_OK) {
        end(output,
            &(struct rpc_status){.code = request->response_status->code, .message = request->response_status->message});
        ok = false;
    }
    for (size_t i = 0; ok && i < request->n_response_parameters; i++)
        ok = owe(output, request->response_parameters[i]);
    if (ok && output->n >= OWED_MAX && !output->held) {
        output->paused = true;
        rpc_call_pause_reading(output->call);
    }
    if (ok)
        pump(output);
    pthread_mutex_unlock(&output->lock);
    return ok;
}

void output_close(struct output *output) {
    pthread_mutex_lock(&output->lock);
    output->closed = true;
    output->held = false;
    pump(output);
    pthread_mutex_unlock(&output->lock);
}

/* --- times --- */

/* Takes an output that is due off the list. If none is due, returns NULL and the time of the next one. Lock held. */
static struct output *take_due(int64_t now_us, int64_t *ret_next_us) {
    *ret_next_us = INT64_MAX;
    for (struct output **at = &times.waiting; *at; at = &(*at)->next_waiting) {
        struct output *output = *at;
        if (output->due_us <= now_us) {
            *at = output->next_waiting;
            output->is_waiting = false;
            return output;
        }
        *ret_next_us = output->due_us < *ret_next_us ? output->due_us : *ret_next_us;
    }
    return NULL;
}

static void *run(void *arg) {
    (void)arg;
    pthread_mutex_lock(&times.lock);
    while (!times.stop || times.waiting) {
        int64_t next_us;
        struct output *output = take_due(times.stop ? INT64_MAX : clock_mono_us(), &next_us);
        if (output) {
            pthread_mutex_unlock(&times.lock);
            on_drained(output);
            rpc_call_unref(output->call);
            pthread_mutex_lock(&times.lock);
        } else if (next_us == INT64_MAX) {
            pthread_cond_wait(&times.changed, &times.lock);
        } else {
            struct timespec until = clock_mono_timespec(next_us);
            pthread_cond_timedwait(&times.changed, &times.lock, &until);
        }
    }
    pthread_mutex_unlock(&times.lock);
    return NULL;
}

void outputs_start(void) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&times.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&times.thread, NULL, run, NULL))
        abort(); /* out of threads: the test fails in any case */
}

void outputs_stop(void) {
    pthread_mutex_lock(&times.lock);
    times.stop = true;
    pthread_cond_signal(&times.changed);
    pthread_mutex_unlock(&times.lock);
    pthread_join(times.thread, NULL);
    pthread_cond_destroy(&times.changed);
}

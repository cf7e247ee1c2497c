/* SPDX-License-Identifier: Apache-2.0 */
/* What a service reads of its call and sets on it: functions of rpc/server.h, which says where not every thread may
 * call them. Its answers are in call.c. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "rpc/call.h"

struct rpc_call *rpc_call_of(void *closure_data) {
    return closure_data;
}

bool call_has_ended(struct rpc_call *call) {
    pthread_mutex_lock(&call->lock);
    bool ended = call->life == CALL_ENDED;
    pthread_mutex_unlock(&call->lock);
    return ended;
}

bool rpc_call_is_cancelled(const struct rpc_call *call) {
    return atomic_load(&call->cancelled) || (call->deadline_us != INT64_MAX && clock_mono_us() >= call->deadline_us);
}

int64_t rpc_call_deadline_us(const struct rpc_call *call) {
    return call->deadline_us;
}

bool call_on_cancel(struct rpc_call *call, void (*fn)(void *arg), void *arg) {
    pthread_mutex_lock(&call->lock);
    bool ended = call->life == CALL_ENDED;
    bool now = !ended && atomic_load(&call->cancelled);
    if (!ended)
        call_watch_now(call);
    if (!ended && !now) {
        call->on_cancel = fn;
        call->on_cancel_arg = arg;
    }
    pthread_mutex_unlock(&call->lock);
    if (now)
        fn(arg);
    return !ended;
}

void rpc_call_on_cancel(struct rpc_call *call, void (*fn)(void *arg), void *arg) {
    (void)call_on_cancel(call, fn, arg);
}

void rpc_call_on_half_close(struct rpc_call *call, void (*fn)(void *arg), void *arg) {
    pthread_mutex_lock(&call->lock);
    call->on_half_close = fn;
    call->on_half_close_arg = arg;
    pthread_mutex_unlock(&call->lock);
}

size_t rpc_call_pending_writes(const struct rpc_call *call) {
    return atomic_load(&call->pending_writes);
}

void rpc_call_on_drained(struct rpc_call *call, void (*fn)(void *arg), void *arg) {
    pthread_mutex_lock(&call->lock);
    call->on_drained = fn;
    call->on_drained_arg = arg;
    pthread_mutex_unlock(&call->lock);
}

void rpc_call_pause_reading(struct rpc_call *call) {
    pthread_mutex_lock(&call->lock);
    call->reading_held = true;
    pthread_mutex_unlock(&call->lock);
}

void rpc_call_resume_reading(struct rpc_call *call) {
    pthread_mutex_lock(&call->lock);
    call->reading_held = false;
    call_resume_receiving(call);
    pthread_mutex_unlock(&call->lock);
}

void rpc_call_on_end(struct rpc_call *call, rpc_call_end_fn *fn, void *arg) {
    call->on_end = fn;
    call->on_end_arg = arg;
}

void *rpc_call_end_arg(const struct rpc_call *call) {
    return call->on_end_arg;
}

const char *rpc_call_metadata(const struct rpc_call *call, const char *key, size_t *ret_len) {
    return metadata_find(&call->metadata, key, ret_len);
}

bool rpc_call_add_header(struct rpc_call *call, const struct rpc_metadatum *header) {
    pthread_mutex_lock(&call->lock);
    bool ok = call->sent < SENT_HEADERS && metadata_add(&call->headers, header);
    pthread_mutex_unlock(&call->lock);
    return ok;
}

bool rpc_call_add_trailer(struct rpc_call *call, const struct rpc_metadatum *trailer) {
    pthread_mutex_lock(&call->lock);
    bool ok = call->life != CALL_ENDED && metadata_add(&call->trailers, trailer);
    pthread_mutex_unlock(&call->lock);
    return ok;
}

void rpc_call_send_headers(struct rpc_call *call) {
    pthread_mutex_lock(&call->lock);
    if (call->sent == SENT_NOTHING)
        call->sent = SENT_HEADERS_WANTED;
    bool is_to_wake = call_pump_soon(call);
    pthread_mutex_unlock(&call->lock);
    if (is_to_wake)
        call_wake(call);
}

void rpc_call_set_compression(struct rpc_call *call, enum rpc_compression compression) {
    pthread_mutex_lock(&call->lock);
    if (call->sent < SENT_HEADERS && compression != RPC_COMPRESSION_NONE)
        call->compression = compression;
    call->compress = compression != RPC_COMPRESSION_NONE && compression == call->compression;
    pthread_mutex_unlock(&call->lock);
}

bool rpc_call_is_compressed(const struct rpc_call *call) {
    return call->is_compressed;
}

void *rpc_call_state(const struct rpc_call *call) {
    return call->state;
}

void rpc_call_set_state(struct rpc_call *call, void *state) {
    call->state = state;
}

void rpc_call_set_caller(struct rpc_call *call, uint64_t caller) {
    call->caller_key = caller;
}

void rpc_call_set_subject(struct rpc_call *call, int64_t subject) {
    call->subject = subject;
}

int64_t rpc_call_subject(const struct rpc_call *call) {
    return call->subject;
}

void rpc_call_retry_after(struct rpc_call *call, int64_t ms) {
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, ms);
    pthread_mutex_lock(&call->lock);
    if (call->life != CALL_ENDED)
        metadata_add_reserved(&call->trailers, RETRY_PUSHBACK_KEY, grpc_slice_from_copied_buffer(text, (size_t)len));
    pthread_mutex_unlock(&call->lock);
}

void *rpc_call_alloc(struct rpc_call *call, size_t size) {
    return arena_zalloc(&call->arena, size);
}

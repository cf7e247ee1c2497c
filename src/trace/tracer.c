/* SPDX-License-Identifier: Apache-2.0 */
/* The tracer; see tracer.h. Its thread alone uses the post and the arena. The queue has its own lock, the rest is fixed
 * or atomic. */
#include "trace/tracer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "trace/encode.h"
#include "trace/limit.h"
#include "trace/post.h"
#include "trace/span_queue.h"

/* Spans that wait, at most: some seconds of many traces. A span takes about 0.5 KiB. */
#define QUEUE_SPANS 8192
/* Spans of one request to the receiver: about 1 MB. Receivers take at least 4 MB. */
#define POST_SPANS 2048
/* How long spans gather. */
#define GATHER_US US_PER_S
/* Attempts to send the same spans, with pauses of 1 s and 2 s in between. */
#define ATTEMPTS       3
#define FIRST_PAUSE_US US_PER_S

#define HOST_SIZE      65
#define INSTANCE_SIZE  37

struct tracer {
    double ratio;
    void (*on_attempt)(void *arg, const struct err *err);
    void *arg;
    struct trace_limit limit;
    _Atomic uint64_t ids; /* the state of a splitmix64 generator */
    uint64_t key;         /* makes the first half of a trace's id differ from the second one */
    struct span_queue *queue;
    struct post *post;
    struct arena arena;
    bool has_given_up; /* the stop does not wait for a receiver that has failed */
    char host[HOST_SIZE], instance_id[INSTANCE_SIZE];
    struct metric *sent, *full, *failed, *refused, *limited;
    atomic_bool stopping;
    pthread_t thread;
};

/* --- metrics --- */

static struct metric *dropped(const char *labels) {
    return metrics_counter("couponsd_trace_spans_dropped_total",
                           "Spans that were not sent: the queue was full, the receiver failed three times, or it "
                           "refused them.",
                           labels);
}

static void find_metrics(struct tracer *tracer) {
    tracer->sent = metrics_counter("couponsd_trace_spans_sent_total", "Spans that the receiver has taken.", "");
    tracer->full = dropped("reason=\"full\"");
    tracer->failed = dropped("reason=\"failed\"");
    tracer->refused = dropped("reason=\"refused\"");
    tracer->limited = metrics_counter("couponsd_trace_limited_total",
                                      "Requests that were not traced because of trace.max_per_s.", "");
}

void tracer_register(void) {
    struct tracer none;
    find_metrics(&none);
}

/* --- ids --- */

static uint64_t mixed(uint64_t value) {
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static uint64_t next_number(struct tracer *tracer) {
    return atomic_fetch_add_explicit(&tracer->ids, UINT64_C(0x9e3779b97f4a7c15), memory_order_relaxed);
}

static void write_id(uint64_t number, uint8_t *id) {
    uint64_t value = number ? number : 1; /* an id of zeros is not valid */
    memcpy(id, &value, sizeof value);
}

void tracer_make_id(struct tracer *tracer, uint8_t ret_id[static SPAN_ID_BYTES]) {
    write_id(mixed(next_number(tracer)), ret_id);
}

static void make_trace_id(struct tracer *tracer, uint8_t ret_id[static TRACE_ID_BYTES]) {
    uint64_t number = next_number(tracer);
    write_id(mixed(number ^ tracer->key), ret_id);
    write_id(mixed(number), ret_id + TRACE_ID_BYTES / 2);
}

/* --- choosing --- */

enum trace_choice tracer_begin(struct tracer *tracer, const char *traceparent, size_t len,
                               struct trace_span *ret_span) {
    struct trace_context parent = {0};
    bool has_parent = trace_context_read(traceparent, len, &parent);
    if (!has_parent && tracer->ratio > 0) {
        make_trace_id(tracer, parent.trace_id);
        parent.is_sampled = trace_is_chosen(parent.trace_id, tracer->ratio);
    }
    if (!parent.is_sampled)
        return TRACE_UNSAMPLED;
    *ret_span = (struct trace_span){.start_us = clock_mono_us(), .partition = -1, .offset = -1};
    memcpy(ret_span->trace_id, parent.trace_id, TRACE_ID_BYTES);
    memcpy(ret_span->parent_id, parent.span_id, SPAN_ID_BYTES);
    tracer_make_id(tracer, ret_span->span_id);
    if (trace_limit_take(&tracer->limit, ret_span->start_us))
        return TRACE_RECORDED;
    metric_add(tracer->limited, 1);
    return TRACE_LIMITED;
}

bool tracer_wants(const struct tracer *tracer, const char *traceparent, size_t len) {
    struct trace_context parent;
    return tracer && trace_context_read(traceparent, len, &parent) && parent.is_sampled &&
           trace_limit_has_room(&tracer->limit, clock_mono_us());
}

bool tracer_continue(struct tracer *tracer, const char *traceparent, size_t len, struct trace_span *ret_span) {
    struct trace_context parent;
    if (!tracer || len == 0 || !trace_context_read(traceparent, len, &parent) || !parent.is_sampled)
        return false;
    *ret_span = (struct trace_span){.start_us = clock_mono_us(), .partition = -1, .offset = -1};
    memcpy(ret_span->trace_id, parent.trace_id, TRACE_ID_BYTES);
    memcpy(ret_span->parent_id, parent.span_id, SPAN_ID_BYTES);
    tracer_make_id(tracer, ret_span->span_id);
    return true;
}

char *trace_span_traceparent(const struct trace_span *span, char text[static TRACEPARENT_SIZE]) {
    struct trace_context context = {.is_sampled = true};
    memcpy(context.trace_id, span->trace_id, TRACE_ID_BYTES);
    memcpy(context.span_id, span->span_id, SPAN_ID_BYTES);
    return trace_context_write(&context, text);
}

void tracer_push(struct tracer *tracer, const struct trace_span *span) {
    if (!span_queue_push(tracer->queue, span))
        metric_add(tracer->full, 1);
}

/* --- sending --- */

static void send_spans(struct tracer *tracer, const struct trace_span *spans, size_t n) {
    const struct trace_resource resource = {COUPONSD_VERSION, tracer->instance_id, tracer->host, getpid()};
    size_t len;
    const uint8_t *bytes = trace_encode(&tracer->arena, &resource, spans, n, &len);
    enum post_result result = POST_FAILED;
    for (int attempt = 0; attempt < ATTEMPTS && result == POST_FAILED && !tracer->has_given_up; attempt++) {
        struct err err;
        if (attempt > 0)
            span_queue_pause(tracer->queue, FIRST_PAUSE_US << (attempt - 1));
        result = post_send(tracer->post, bytes, len, &tracer->stopping, &err);
        if (tracer->on_attempt)
            tracer->on_attempt(tracer->arg, result == POST_SENT ? NULL : &err);
        tracer->has_given_up = result == POST_FAILED && atomic_load(&tracer->stopping);
    }
    metric_add(result == POST_SENT     ? tracer->sent
               : result == POST_FAILED ? tracer->failed
                                       : tracer->refused,
               (int64_t)n);
    arena_reset(&tracer->arena);
}

static void *work(void *arg) {
    struct tracer *tracer = arg;
    const struct trace_span *spans;
    size_t n;
    while ((n = span_queue_take(tracer->queue, GATHER_US, &spans)) > 0)
        for (size_t at = 0; at < n; at += POST_SPANS)
            send_spans(tracer, spans + at, n - at < POST_SPANS ? n - at : POST_SPANS);
    return NULL;
}

/* --- life --- */

static void make_instance(struct tracer *tracer) {
    uint64_t random[4] = {0};
    if (getrandom(random, sizeof random, 0) != sizeof random)
        random[0] = random[2] = (uint64_t)clock_wall_us() ^ (uint64_t)getpid() << 40;
    atomic_store(&tracer->ids, random[0]);
    tracer->key = random[1] | 1;
    /* A UUID of version 4. */
    snprintf(tracer->instance_id, sizeof tracer->instance_id, "%08x-%04x-4%03x-%04x-%012llx",
             (unsigned)(random[2] >> 32), (unsigned)(random[2] >> 16 & 0xffff), (unsigned)(random[2] & 0xfff),
             (unsigned)(0x8000 | (random[3] >> 48 & 0x3fff)),
             (unsigned long long)(random[3] & UINT64_C(0xffffffffffff)));
    if (gethostname(tracer->host, sizeof tracer->host - 1) != 0)
        tracer->host[0] = '\0';
}

bool tracer_check(const struct tracer_options *options, struct err *err) {
    struct post *post;
    if (!post_new(options->endpoint, options->headers, &post, err))
        return false;
    post_free(post);
    return true;
}

bool tracer_new(const struct tracer_options *options, struct tracer **ret_tracer, struct err *err) {
    struct tracer *tracer = memory_new(1, sizeof *tracer);
    *tracer = (struct tracer){
        .ratio = options->ratio,
        .on_attempt = options->on_attempt,
        .arg = options->arg,
        .limit = {.max_per_s = (uint32_t)options->max_per_s},
        .queue = span_queue_new(QUEUE_SPANS),
    };
    arena_init(&tracer->arena, 256 * 1024);
    find_metrics(tracer);
    make_instance(tracer);
    if (post_new(options->endpoint, options->headers, &tracer->post, err) &&
        thread_start("trace", work, tracer, &tracer->thread, err)) {
        *ret_tracer = tracer;
        return true;
    }
    post_free(tracer->post);
    arena_deinit(&tracer->arena);
    span_queue_free(tracer->queue);
    free(tracer);
    return false;
}

void tracer_free(struct tracer *tracer) {
    if (!tracer)
        return;
    atomic_store(&tracer->stopping, true);
    span_queue_close(tracer->queue);
    pthread_join(tracer->thread, NULL);
    post_free(tracer->post);
    arena_deinit(&tracer->arena);
    span_queue_free(tracer->queue);
    free(tracer);
}

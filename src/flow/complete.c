/* SPDX-License-Identifier: Apache-2.0 */
/* The completer; see complete.h.
 *
 * One thread, a member of the consumer group coupon-completer, does all the work. If Redis or Postgres fails, it
 * holds the batch, pauses its partitions, and tries again until both work. */
#include "flow/complete.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/heart.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/pair_set.h"
#include "base/thread.h"
#include "flow/counters.h"
#include "flow/gate/coupon_memory.h"
#include "flow/kafka_errors.h"
#include "flow/read/watch.h"
#include "flow/stage.h"
#include "flow/tracing.h"
#include "model/event.h"
#include "store/coupon_rows.h"
#include "store/dead_letters.h"
#include "store/flags.h"

#define WAIT_MS       100
#define RETRY_WAIT_MS 250

struct complete {
    pthread_t thread;
    bool is_running; /* the thread has started */
    struct pg *pg;
    struct flags *flags;
    struct kafka_consumer *consumer;
    struct coupon_memory *coupon_memory;
    struct watch *watch;
    struct tracer *tracer;
    struct arena arena;
    struct kafka_message *messages;
    size_t batch_max, held;
    struct batch_metrics metrics;
    struct outage outage;
    struct kafka_errors kafka_errors;
    struct metric *completed;
    atomic_bool stopping;
};

/* Collects the distinct coupons of the held messages. ret_coupon_of[i] is the coupon of message i, or 0 if the
 * message can't be decoded. */
static size_t coupons_of(struct complete *complete, struct coupon *ret_coupons, int64_t *ret_coupon_of) {
    struct pair_set seen;
    pair_set_init(&seen, &complete->arena, complete->held);
    size_t n = 0;
    for (size_t i = 0; i < complete->held; i++) {
        struct event event;
        bool ok = event_read(STREAM_PUBLISHED, complete->messages[i].value, complete->messages[i].value_len, &event);
        ret_coupon_of[i] = ok ? event.coupon_id : 0;
        if (ret_coupon_of[i] && pair_set_add(&seen, event.coupon_id, 0))
            ret_coupons[n++] = (struct coupon){.id = event.coupon_id};
    }
    return n;
}

/* Puts messages aside as dead letters if they can't be decoded or name a coupon that does not exist. No flag depends
 * on them. */
static bool put_aside(struct complete *complete, const struct coupon *coupons, size_t n, const int64_t *coupon_of,
                      struct err *err) {
    struct dead_letters letters;
    struct pair_set missing;
    dead_letters_init(&letters, &complete->arena, complete->held);
    pair_set_init(&missing, &complete->arena, n);
    for (size_t i = 0; i < n; i++)
        if (!coupons[i].exists)
            pair_set_add(&missing, coupons[i].id, 0);
    for (size_t i = 0; i < complete->held; i++)
        if (!coupon_of[i])
            dead_letters_put(&letters, &complete->messages[i], 0,
                             "the value can't be decoded as coupon.v1.Published, or names no coupon");
        else if (pair_set_has(&missing, coupon_of[i], 0))
            dead_letters_put(&letters, &complete->messages[i], coupon_of[i], "there is no such coupon");
    if (letters.n == 0)
        return true;
    if (!dead_letters_add(complete->pg, &complete->arena, &letters, err))
        return false;
    counters_dead_lettered((int64_t)letters.n);
    log_warn("complete.dead_letters", LOG_INT("n", letters.n));
    return true;
}

static bool set_flags(struct complete *complete, struct err *err) {
    struct coupon *coupons = ARENA_ARRAY(&complete->arena, struct coupon, complete->held);
    struct flag *flags = ARENA_ARRAY(&complete->arena, struct flag, complete->held);
    int64_t *coupon_of = ARENA_ARRAY(&complete->arena, int64_t, complete->held);
    size_t n = coupons_of(complete, coupons, coupon_of), n_flags = 0;
    int64_t now_us;
    if (!pg_connect(complete->pg, err) || !coupon_rows_load(complete->pg, &complete->arena, coupons, n, &now_us, err))
        return false;
    coupon_memory_learn(complete->coupon_memory, coupons, n, now_us);
    for (size_t i = 0; i < n; i++)
        if (coupons[i].exists && !coupon_is_available(&coupons[i], now_us))
            flags[n_flags++] = flag_of(&coupons[i], now_us);
    if (n_flags)
        FAULT_POINT("complete", "before_flag_write");
    if (!flags_set(complete->flags, flags, n_flags, err) || !put_aside(complete, coupons, n, coupon_of, err))
        return false;
    if (n_flags)
        FAULT_POINT("complete", "after_flag_write");
    metric_add(complete->completed, (int64_t)n_flags);
    return true;
}

/* Commits the offsets behind the held messages. The messages of a partition arrive in order, so its last one counts. */
static void commit(struct complete *complete) {
    for (size_t i = complete->held; i-- > 0;) {
        const struct kafka_message *message = &complete->messages[i];
        /* Only the last message of a run from one partition is committed. If a partition has several runs, this loop
         * reaches the last run first; the consumer ignores the smaller offsets of the earlier ones. */
        if (i + 1 == complete->held || kafka_place_compare(&message->place, &message[1].place) != 0)
            kafka_commit(complete->consumer, &message->place, message->offset + 1);
    }
}

static void trace(const struct complete *complete, int64_t start_us) {
    for (size_t i = 0; i < complete->held; i++) {
        const struct kafka_message *message = &complete->messages[i];
        struct event event;
        struct trace_span span;
        if (!event_read(STREAM_PUBLISHED, message->value, message->value_len, &event) ||
            !tracing_consume(complete->tracer, message, &event, &span))
            continue;
        span.step = TRACE_COMPLETE;
        span.end_us = span.start_us;
        span.start_us = start_us;
        span.batch_size = (int64_t)complete->held;
        span.outcome = "completed";
        tracer_push(complete->tracer, &span);
    }
}

static void work_on(struct complete *complete) {
    struct err err;
    int64_t start_us = clock_mono_us();
    if (!set_flags(complete, &err)) {
        stage_interrupted(&complete->outage, "complete", &err);
        kafka_pause(complete->consumer, true);
        return;
    }
    stage_resumed(&complete->outage, "complete");
    if (complete->tracer)
        trace(complete, start_us);
    watch_wake(complete->watch);
    commit(complete);
    batch_metrics_observe(&complete->metrics, complete->held, clock_mono_us() - start_us);
    kafka_release(complete->messages, complete->held);
    complete->held = 0;
    kafka_pause(complete->consumer, false);
}

/* Drops messages that a rebalance may deliver in spite of the pause. They are not committed, so they arrive again
 * after the next rebalance; the reconciler sets their flags before that. */
static void drop_stragglers(struct complete *complete) {
    struct kafka_message straggler;
    kafka_release(&straggler, kafka_consume(complete->consumer, RETRY_WAIT_MS, &straggler, 1));
}

static void on_error(void *arg, const struct kafka_failure *failure) {
    struct complete *complete = arg;
    kafka_errors_note(&complete->kafka_errors, failure);
}

static void *work(void *arg) {
    struct complete *complete = arg;
    struct heart *heart = heart_new("complete");
    while (!atomic_load(&complete->stopping)) {
        heart_work(heart); /* each wait is short */
        if (complete->held == 0)
            complete->held = kafka_consume(complete->consumer, WAIT_MS, complete->messages, complete->batch_max);
        else /* paused: delivers nothing, but keeps us in the group */
            drop_stragglers(complete);
        if (complete->held)
            work_on(complete);
        arena_reset(&complete->arena);
    }
    heart_free(heart);
    kafka_release(complete->messages, complete->held);
    return NULL;
}

bool complete_start(struct context *context, struct complete **ret_complete, struct err *err) {
    const struct config *config = context->config;
    struct complete *complete = memory_new(1, sizeof *complete);
    *complete = (struct complete){
        .coupon_memory = context->coupon_memory,
        .watch = context->watch,
        .tracer = context->tracer,
        .batch_max = (size_t)config->complete_batch_max,
        .pg = pg_new(&context->hot),
        .messages = memory_new((size_t)config->complete_batch_max, sizeof *complete->messages),
        .metrics = batch_metrics("complete"),
        .completed = metrics_counter("couponsd_completed_total",
                                     "Flags set to false because their coupons are no longer available.", ""),
    };
    arena_init(&complete->arena, 256 * 1024);
    const struct kafka_consumer_events events = {
        .arg = complete, .group = &context->groups[STREAM_PUBLISHED], .on_error = on_error};
    kafka_errors_init(&complete->kafka_errors, "complete");
    complete->is_running =
        flags_new(&context->redis, &complete->flags, err) &&
        kafka_consumer_new(&context->kafka, STREAM_PUBLISHED, NULL, &events, &complete->consumer, err) &&
        thread_start("complete", work, complete, &complete->thread, err);
    if (!complete->is_running) {
        complete_stop(complete);
        return false;
    }
    *ret_complete = complete;
    return true;
}

void complete_stop(struct complete *complete) {
    if (!complete)
        return;
    atomic_store(&complete->stopping, true);
    if (complete->is_running)
        pthread_join(complete->thread, NULL);
    kafka_consumer_free(complete->consumer);
    flags_free(complete->flags);
    pg_free(complete->pg);
    arena_deinit(&complete->arena);
    free(complete->messages);
    free(complete);
}

/* One thread, a member of the group coupon-completer. A batch that Redis or Postgres can't serve is held, with the
 * partitions paused, until they can. */
#include "flow/complete.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/pair_set.h"
#include "model/event.h"
#include "flow/gate/coupon_memory.h"
#include "flow/stage.h"
#include "flow/counters.h"
#include "flow/interruption.h"
#include "flow/watch.h"
#include "store/dead_letters.h"
#include "store/flags.h"
#include "store/lookup.h"

#define WAIT_MS       100
#define RETRY_WAIT_MS 250

struct complete {
    pthread_t thread;
    struct pg *pg;
    struct flags *flags;
    struct kafka_consumer *consumer;
    struct known *known;
    struct watch *watch;
    struct arena arena;
    struct kafka_message *messages;
    size_t batch_max, held;
    struct batch_metrics metrics;
    struct outage outage;
    struct metric *completed;
    atomic_bool stopping;
};

/* The distinct coupons of the messages in hand; coupon_of[i] is that of message i, 0 where it can't be decoded. */
static size_t coupons_of(struct complete *complete, struct coupon_row *ret_coupons, int64_t *ret_coupon_of) {
    struct pairs seen;
    pairs_init(&seen, &complete->arena, complete->held);
    size_t n = 0;
    for (size_t i = 0; i < complete->held; i++) {
        struct event event;
        bool ok = event_read(STREAM_PUBLISHED, complete->messages[i].value, complete->messages[i].value_len, &event);
        ret_coupon_of[i] = ok ? event.coupon_id : 0;
        if (ret_coupon_of[i] && pairs_add(&seen, event.coupon_id, 0))
            ret_coupons[n++] = (struct coupon_row){.id = event.coupon_id};
    }
    return n;
}

/* What names no coupon that there is goes aside: it isn't ours, and no flag needs it. */
static bool put_aside(struct complete *complete, const struct coupon_row *coupons, size_t n, const int64_t *coupon_of,
                      struct err *err) {
    struct dead_letters letters;
    struct pairs missing;
    dead_letters_init(&letters, &complete->arena, complete->held);
    pairs_init(&missing, &complete->arena, n);
    for (size_t i = 0; i < n; i++)
        if (!coupons[i].exists)
            pairs_add(&missing, coupons[i].id, 0);
    for (size_t i = 0; i < complete->held; i++)
        if (!coupon_of[i])
            dead_letters_put(&letters, &complete->messages[i], 0,
                             "the value can't be decoded as coupon.v1.Published, or names no coupon");
        else if (pairs_has(&missing, coupon_of[i], 0))
            dead_letters_put(&letters, &complete->messages[i], coupon_of[i], "there is no such coupon");
    if (letters.n == 0)
        return true;
    if (!dead_letters_add(complete->pg, &complete->arena, &letters, err))
        return false;
    totals_dead_lettered((int64_t)letters.n);
    log_warn("complete.dead_letters", LOG_INT("n", letters.n));
    return true;
}

static bool set_flags(struct complete *complete, struct err *err) {
    struct coupon_row *coupons = ARENA_ARRAY(&complete->arena, struct coupon_row, complete->held);
    struct flag *flags = ARENA_ARRAY(&complete->arena, struct flag, complete->held);
    int64_t *coupon_of = ARENA_ARRAY(&complete->arena, int64_t, complete->held);
    size_t n = coupons_of(complete, coupons, coupon_of), n_flags = 0;
    int64_t now_us;
    if (!pg_connect(complete->pg, err) || !lookup_coupons(complete->pg, &complete->arena, coupons, n, &now_us, err))
        return false;
    known_learn(complete->known, coupons, n, now_us);
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

/* How far we are. Messages of a place come in order, so its last one counts. */
static void commit(struct complete *complete) {
    for (size_t i = complete->held; i-- > 0;) {
        const struct kafka_message *message = &complete->messages[i];
        /* The last of a run, which is all that counts most of the time; an earlier run is no step back. */
        if (i + 1 == complete->held || kafka_place_compare(&message->place, &message[1].place) != 0)
            kafka_commit(complete->consumer, &message->place, message->offset + 1);
    }
}

static void work_on(struct complete *complete) {
    struct err err;
    int64_t start_us = clock_mono_us();
    if (!set_flags(complete, &err)) {
        trouble_failed(&complete->outage, "complete", &err);
        kafka_pause(complete->consumer, true);
        return;
    }
    trouble_over(&complete->outage, "complete");
    watch_wake(complete->watch);
    commit(complete);
    batch_metrics_observe(&complete->metrics, complete->held, clock_mono_us() - start_us);
    kafka_release(complete->messages, complete->held);
    complete->held = 0;
    kafka_pause(complete->consumer, false);
}

/* What a rebalance may bring in spite of the pause: not committed, so it comes again after the next one; the reconciler
 * sets the flag before that. */
static void drop_stragglers(struct complete *complete) {
    struct kafka_message straggler;
    kafka_release(&straggler, kafka_consume(complete->consumer, RETRY_WAIT_MS, &straggler, 1));
}

static void *work(void *arg) {
    struct complete *complete = arg;
    while (!atomic_load(&complete->stopping)) {
        if (complete->held == 0)
            complete->held = kafka_consume(complete->consumer, WAIT_MS, complete->messages, complete->batch_max);
        else /* paused: this brings nothing, but keeps the membership in the group */
            drop_stragglers(complete);
        if (complete->held)
            work_on(complete);
        arena_reset(&complete->arena);
    }
    kafka_release(complete->messages, complete->held);
    return NULL;
}

struct complete *complete_start(const struct config *config, const struct pg_options *postgres,
                                const struct kafka_options *kafka, struct known *known, struct watch *watch,
                                struct err *err) {
    struct complete *complete = calloc(1, sizeof *complete);
    if (!complete)
        abort();
    struct kafka_consumer_events events = {.arg = complete};
    complete->known = known;
    complete->watch = watch;
    complete->batch_max = (size_t)config->complete_batch_max;
    if (!flags_new(config->redis_url, config->redis_timeout_ms, &complete->flags, err) ||
        !kafka_consumer_new(kafka, STREAM_PUBLISHED, NULL, &events, &complete->consumer, err)) {
        flags_free(complete->flags);
        free(complete);
        return NULL;
    }
    complete->pg = pg_new(postgres);
    complete->messages = calloc(complete->batch_max, sizeof *complete->messages);
    if (!complete->messages)
        abort();
    arena_init(&complete->arena, 256 * 1024);
    complete->metrics = batch_metrics("complete");
    complete->completed = metrics_counter("couponsd_completed_total", "Flags set to false since nothing was left.", "");
    if (pthread_create(&complete->thread, NULL, work, complete))
        abort();
    pthread_setname_np(complete->thread, "complete");
    return complete;
}

void complete_stop(struct complete *complete) {
    if (!complete)
        return;
    atomic_store(&complete->stopping, true);
    pthread_join(complete->thread, NULL);
    kafka_consumer_free(complete->consumer);
    flags_free(complete->flags);
    pg_free(complete->pg);
    arena_deinit(&complete->arena);
    free(complete->messages);
    free(complete);
}

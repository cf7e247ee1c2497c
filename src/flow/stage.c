/* SPDX-License-Identifier: Apache-2.0 */
/* A stage; see stage.h. The stage's thread owns everything except the queue, which has its own lock, and
 * waiting_max. */
#include "flow/stage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/batch_queue.h"
#include "base/clock.h"
#include "base/heart.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "flow/backends.h"

#define DEPTH_METRIC "couponsd_stage_queue_depth"

/* A batch smaller than this, or than half of batch_max, says nothing about the stage's speed: most of its time is
 * the round trip. */
#define TELLING_BATCH 256
/* The weight of the newest batch in the measured speed, so that one slow or fast batch has little effect. */
#define NEWEST_SHARE 0.1

struct stage {
    const char *name;
    struct batch_queue *queue;
    size_t batch_max, telling_batch;
    int64_t patience_us;
    double per_us;             /* items per microsecond when busy; 0: unknown */
    atomic_size_t waiting_max; /* how many items may wait, by speed and patience */
    void **items;
    void (*run)(void *arg, void **items, size_t n);
    void *arg;
    struct batch_metrics metrics;
    char labels[64];
    pthread_t thread;
};

struct batch_metrics batch_metrics(const char *stage_name) {
    char labels[64];
    snprintf(labels, sizeof labels, "stage=\"%s\"", stage_name);
    return (struct batch_metrics){
        .size =
            metrics_histogram("couponsd_stage_batch_size", "Items per batch.", labels, METRICS_SIZES, METRICS_SIZES_N),
        .seconds = metrics_histogram("couponsd_stage_batch_seconds", "Time for one batch.", labels, METRICS_SECONDS,
                                     METRICS_SECONDS_N),
    };
}

void batch_metrics_observe(const struct batch_metrics *metrics, size_t n, int64_t us) {
    metric_observe(metrics->size, (double)n);
    metric_observe(metrics->seconds, (double)us / US_PER_S);
}

static double depth(void *arg) {
    return (double)batch_queue_depth(arg);
}

static void learn_speed(struct stage *stage, size_t n, int64_t us) {
    if (stage->patience_us == 0 || n < stage->telling_batch)
        return;
    double per_us = (double)n / (double)(us > 0 ? us : 1);
    stage->per_us = stage->per_us == 0 ? per_us : stage->per_us + (per_us - stage->per_us) * NEWEST_SHARE;
    size_t waiting_max = (size_t)(stage->per_us * (double)stage->patience_us);
    atomic_store(&stage->waiting_max, waiting_max > stage->telling_batch ? waiting_max : stage->telling_batch);
}

static void *work(void *arg) {
    struct stage *stage = arg;
    struct heart *heart = heart_new(stage->name);
    while (!batch_queue_is_drained(stage->queue)) {
        heart_rest(heart);
        size_t n = batch_queue_take(stage->queue, stage->items, stage->batch_max, -1);
        if (n == 0)
            continue;
        heart_work(heart);
        int64_t start_us = clock_mono_us();
        stage->run(stage->arg, stage->items, n);
        int64_t us = clock_mono_us() - start_us;
        learn_speed(stage, n, us);
        batch_metrics_observe(&stage->metrics, n, us);
    }
    heart_free(heart);
    return NULL;
}

static void stage_free(struct stage *stage) {
    batch_queue_free(stage->queue);
    free(stage->items);
    free(stage);
}

bool stage_start(const char *name, const struct stage_options *options, void (*run)(void *arg, void **items, size_t n),
                 void *arg, struct stage **ret_stage, struct err *err) {
    struct stage *stage = memory_new(1, sizeof *stage);
    *stage = (struct stage){
        .name = name,
        .queue = batch_queue_new(options->queue_size),
        .batch_max = options->batch_max,
        .telling_batch = options->batch_max < 2 * TELLING_BATCH ? (options->batch_max + 1) / 2 : TELLING_BATCH,
        .patience_us = options->patience_us,
        .waiting_max = options->queue_size,
        .items = memory_new(options->batch_max, sizeof(void *)),
        .run = run,
        .arg = arg,
        .metrics = batch_metrics(name),
    };
    if (!thread_start(name, work, stage, &stage->thread, err)) {
        stage_free(stage);
        return false;
    }
    snprintf(stage->labels, sizeof stage->labels, "stage=\"%s\"", name);
    metrics_gauge_fn(DEPTH_METRIC, "Items that wait in the queue.", stage->labels, depth, stage->queue);
    *ret_stage = stage;
    return true;
}

bool stage_push(struct stage *stage, void *item) {
    return batch_queue_push_within(stage->queue, item, atomic_load(&stage->waiting_max));
}

bool stage_has_room(struct stage *stage) {
    return batch_queue_depth(stage->queue) < atomic_load(&stage->waiting_max);
}

bool stage_is_waited_for(const struct stage *stage) {
    return batch_queue_depth(stage->queue) > 0;
}

void stage_stop(struct stage *stage) {
    if (!stage)
        return;
    batch_queue_close(stage->queue);
    pthread_join(stage->thread, NULL);
    metrics_gauge_fn(DEPTH_METRIC, "", stage->labels, NULL, NULL);
    stage_free(stage);
}

void stage_interrupted(struct outage *outage, const char *stage, const struct err *err) {
    backends_failed(outage, stage, err);
    if (outage_failed(outage))
        log_warn("stage.interrupted", LOG_STR("stage", stage), LOG_STR("backend", backend_name(err->backend)),
                 LOG_ERR(err));
}

void stage_resumed(struct outage *outage, const char *stage) {
    int64_t us;
    if (outage_is_on(outage))
        backends_recovered(outage);
    if (outage_over(outage, &us))
        log_info("stage.resumed", LOG_STR("stage", stage), LOG_NUM("after_s", (double)us / US_PER_S));
}

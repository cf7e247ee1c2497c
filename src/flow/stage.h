/* SPDX-License-Identifier: Apache-2.0 */
/* A stage: a bounded queue, and a thread that takes all waiting items (up to a cap) and processes them as one batch.
 * There are no timers: an idle stage answers at once, and a busy one gets cheaper per item.
 *
 * Two limits bound a queue: its size, and patience. An item that would wait longer than the patience, at the speed
 * of the latest large batches, is not taken. Under overload, the requests that are taken are served soon, and the
 * others are refused at once. The queue of an idle stage has no measured speed yet, so only its size limits a burst. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "base/outage.h"

struct stage;

struct stage_options {
    size_t queue_size, batch_max;
    int64_t patience_us; /* 0: only queue_size limits the queue */
};

/* Starts the stage's thread, which calls `run(arg, items, n)` with n >= 1 items. `name`, a literal, names the thread
 * and labels the metrics. Fails if the thread can't start. */
bool stage_start(const char *name, const struct stage_options *options, void (*run)(void *arg, void **items, size_t n),
                 void *arg, struct stage **ret_stage, struct err *err);
/* Queues an item. Returns false if the queue is full, the wait would be too long, or the stage is stopping; the item
 * then stays the caller's. Any thread. */
bool stage_push(struct stage *stage, void *item);
/* True if stage_push would take an item now. Any thread. */
bool stage_has_room(struct stage *stage);
/* True if items are waiting, so that another batch follows at once. Any thread. */
bool stage_is_waited_for(const struct stage *stage);
/* Processes all waiting items, then ends the thread. NULL is fine. */
void stage_stop(struct stage *stage);

/* The metrics of batches, for steps that have no queue. */
struct batch_metrics {
    struct metric *size, *seconds;
};
struct batch_metrics batch_metrics(const char *stage_name);
void batch_metrics_observe(const struct batch_metrics *metrics, size_t n, int64_t us);

/* Reports a failed backend without flooding the log (base/outage.h).
 *
 * If a line is due, logs event=stage.interrupted stage=… backend=… error=…. */
void stage_interrupted(struct outage *outage, const char *stage, const struct err *err);
/* Logs event=stage.resumed if the step was interrupted before, and nothing otherwise. */
void stage_resumed(struct outage *outage, const char *stage);

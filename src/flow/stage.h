/* What the request-serving steps have in common: a bounded queue, and a thread that takes everything that is waiting
 * (up to a cap), works on it as one batch, and comes back for more. No timers: an idle stage answers at once, a busy
 * one gets cheaper per item. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metrics.h"

struct stage;

/* `run(arg, items, n)` is called on the stage's thread, for n >= 1 items. `name` labels the metrics. */
struct stage *stage_start(const char *name, size_t queue_size, size_t batch_max,
                          void (*run)(void *arg, void **items, size_t n), void *arg);
/* False when the queue is full or the stage stops: the item stays the caller's. Any thread. */
bool stage_push(struct stage *stage, void *item);
/* Works off what is waiting, then ends the thread. NULL is fine. */
void stage_stop(struct stage *stage);

/* The metrics of a batch, for the steps that are not driven by a queue. */
struct batch_metrics {
    struct metric *size, *seconds;
};
struct batch_metrics batch_metrics(const char *stage_name);
void batch_metrics_observe(const struct batch_metrics *metrics, size_t n, int64_t us);

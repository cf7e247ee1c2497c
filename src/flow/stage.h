/* What the request-serving steps have in common: a bounded queue, and a thread that takes everything that is waiting
 * (up to a cap), works on it as one batch, and comes back for more. No timers: an idle stage answers at once, a busy
 * one gets cheaper per item.
 *
 * A queue is bounded by room, and by patience: what would wait longer than that, by the speed of the last batches that
 * were large enough to tell, is not taken. So under overload those who are served are served soon, and the others know
 * at once. A burst on an idle stage has no speed to be measured by, and is taken as far as there is room. */
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
    int64_t patience_us; /* 0: room is the only bound */
};

/* `run(arg, items, n)` is called on the stage's thread, for n >= 1 items. `name` is the thread's, and labels the
 * metrics; it must outlive the stage. False: no thread can be started. */
bool stage_start(const char *name, const struct stage_options *options, void (*run)(void *arg, void **items, size_t n),
                 void *arg, struct stage **ret_stage, struct err *err);
/* False when the queue is full, the wait too long, or the stage stops: the item stays the caller's. Any thread. */
bool stage_push(struct stage *stage, void *item);
/* Whether an item would be taken now. Any thread. */
bool stage_has_room(struct stage *stage);
/* Whether items are waiting, so that another batch follows at once. Any thread. */
bool stage_is_waited_for(const struct stage *stage);
/* Works off what is waiting, then ends the thread. NULL is fine. */
void stage_stop(struct stage *stage);

/* The metrics of a batch, for the steps that are not driven by a queue. */
struct batch_metrics {
    struct metric *size, *seconds;
};
struct batch_metrics batch_metrics(const char *stage_name);
void batch_metrics_observe(const struct batch_metrics *metrics, size_t n, int64_t us);

/* How a step tells that a backend is away, without a flood (base/outage.h).
 *
 * Logs event=stage.interrupted stage=… backend=… error=… where a line is due. */
void stage_interrupted(struct outage *outage, const char *stage, const struct err *err);
/* Logs event=stage.resumed after an interruption, and nothing otherwise. */
void stage_resumed(struct outage *outage, const char *stage);

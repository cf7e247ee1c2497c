/* SPDX-License-Identifier: Apache-2.0 */
/* Readiness; see readiness.h. The ticker's thread owns `pg`. `lock` guards the result of the last question, and is held
 * to copy it only. */
#include "flow/upkeep/readiness.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/ticker.h"

/* The pause between two questions. */
#define INTERVAL_US (250 * US_PER_MS)
/* The greatest age of a result that counts. It is also how long a question waits for a silent Postgres. */
#define STALE_US (2 * US_PER_S)

struct readiness {
    struct pg *pg;
    struct ticker *ticker;
    pthread_mutex_t lock;
    bool is_ready;
    int64_t answered_us; /* by clock_mono_us */
    char why_not[180];
};

static void ask(void *arg) {
    struct readiness *readiness = arg;
    struct err err = {0};
    pg_give_up_at(readiness->pg, clock_mono_us() + STALE_US);
    bool is_ready = pg_connect(readiness->pg, &err) && pg_check_writable(readiness->pg, &err);
    pthread_mutex_lock(&readiness->lock);
    readiness->is_ready = is_ready;
    readiness->answered_us = clock_mono_us();
    snprintf(readiness->why_not, sizeof readiness->why_not, "%.170s", err.text);
    pthread_mutex_unlock(&readiness->lock);
}

bool readiness_start(struct context *context, struct readiness **ret_readiness, struct err *err) {
    struct readiness *readiness = memory_new(1, sizeof *readiness);
    readiness->pg = pg_new(&context->cold);
    pthread_mutex_init(&readiness->lock, NULL);
    ask(readiness);
    if (!ticker_start("readiness", INTERVAL_US, ask, readiness, &readiness->ticker, err)) {
        readiness_stop(readiness);
        return false;
    }
    *ret_readiness = readiness;
    return true;
}

void readiness_stop(struct readiness *readiness) {
    if (!readiness)
        return;
    ticker_stop(readiness->ticker);
    pg_free(readiness->pg);
    pthread_mutex_destroy(&readiness->lock);
    free(readiness);
}

bool readiness_tell(struct readiness *readiness, char text[static 200]) {
    pthread_mutex_lock(&readiness->lock);
    int64_t age_us = clock_mono_us() - readiness->answered_us;
    double age_s = (double)age_us / US_PER_S;
    bool is_fresh = age_us < STALE_US, is_ready = readiness->is_ready && is_fresh;
    if (is_ready)
        snprintf(text, 200, "ready; Postgres answered %.1f s ago", age_s);
    else if (!is_fresh)
        snprintf(text, 200, "postgres: no answer for %.1f s", age_s);
    else
        snprintf(text, 200, "postgres: %.180s", readiness->why_not);
    pthread_mutex_unlock(&readiness->lock);
    return is_ready;
}

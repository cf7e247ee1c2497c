/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ticker.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

struct ticker {
    pthread_t thread;
    pthread_mutex_t lock; /* guards stopping */
    pthread_cond_t stop;
    bool stopping;
    int64_t interval_us;
    void (*tick)(void *arg);
    void *arg;
};

static bool wait_for_next(struct ticker *ticker) {
    struct timespec until = clock_mono_timespec(clock_mono_us() + ticker->interval_us);
    int timed_out = 0;
    pthread_mutex_lock(&ticker->lock);
    while (!ticker->stopping && !timed_out)
        timed_out = pthread_cond_timedwait(&ticker->stop, &ticker->lock, &until);
    bool go_on = !ticker->stopping;
    pthread_mutex_unlock(&ticker->lock);
    return go_on;
}

static void *work(void *arg) {
    struct ticker *ticker = arg;
    while (wait_for_next(ticker))
        ticker->tick(ticker->arg);
    return NULL;
}

static void ticker_free(struct ticker *ticker) {
    pthread_cond_destroy(&ticker->stop);
    pthread_mutex_destroy(&ticker->lock);
    free(ticker);
}

bool ticker_start(const char *name, int64_t interval_us, void (*tick)(void *arg), void *arg, struct ticker **ret_ticker,
                  struct err *err) {
    struct ticker *ticker = memory_new(1, sizeof *ticker);
    ticker->interval_us = interval_us;
    ticker->tick = tick;
    ticker->arg = arg;
    thread_cond_init_monotonic(&ticker->stop);
    pthread_mutex_init(&ticker->lock, NULL);
    if (!thread_start(name, work, ticker, &ticker->thread, err)) {
        ticker_free(ticker);
        return false;
    }
    *ret_ticker = ticker;
    return true;
}

void ticker_stop(struct ticker *ticker) {
    if (!ticker)
        return;
    pthread_mutex_lock(&ticker->lock);
    ticker->stopping = true;
    pthread_cond_signal(&ticker->stop);
    pthread_mutex_unlock(&ticker->lock);
    pthread_join(ticker->thread, NULL);
    ticker_free(ticker);
}

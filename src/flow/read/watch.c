/* SPDX-License-Identifier: Apache-2.0 */
/* The watcher; see watch.h.
 *
 * One thread owns the list of watched requests. Other threads add to `arrivals` under the lock. The cancel function
 * of a call wakes the thread, which drops the cancelled request at its next look.
 *
 *   look   one query for the states of up to LOOK_MAX requests, and one for the coupons of those that do not exist */
#include "flow/read/watch.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/heart.h"
#include "base/memory.h"
#include "base/thread.h"
#include "flow/stage.h"
#include "store/coupon_rows.h"
#include "store/lookup.h"

/* Requests per query. Longer lists take several queries. */
#define LOOK_MAX     2000

#define COUNT_METRIC "couponsd_watched"

struct watched {
    struct request *request;
    enum { TOLD_NOTHING, TOLD_ACCEPTED } told;
    struct watched *next;
};

struct watch {
    struct pg *pg;
    struct arena arena;
    int64_t poll_us;
    size_t max;
    struct batch_metrics metrics;
    struct outage outage;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the fields below, up to `list` */
    pthread_cond_t change;
    struct watched *arrivals;
    size_t count; /* of arrivals and list together */
    bool woken, ending, stopping;
    struct watched *list; /* belongs to the thread */
};

static void release(struct watch *watch, size_t n) {
    pthread_mutex_lock(&watch->lock);
    watch->count -= n;
    pthread_mutex_unlock(&watch->lock);
}

static void wake_up(void *arg) {
    watch_wake(arg);
}

void watch_add(struct watch *watch, struct request *request) {
    struct watched *watched = rpc_call_alloc(request->call, sizeof *watched);
    watched->request = request;
    /* Before and not under the lock: if the call is already cancelled, wake_up runs at once. */
    rpc_call_on_cancel(request->call, wake_up, watch);
    pthread_mutex_lock(&watch->lock);
    bool ending = watch->ending, full = watch->count >= watch->max;
    if (!ending && !full) {
        watch->count++;
        watched->next = watch->arrivals;
        watch->arrivals = watched;
        watch->woken = true;
        pthread_cond_signal(&watch->change);
    }
    pthread_mutex_unlock(&watch->lock);
    if (ending)
        request_refuse_stopping(request);
    else if (full)
        request_refuse_overloaded(request);
}

static void set_flag(struct watch *watch, bool *flag) {
    pthread_mutex_lock(&watch->lock);
    *flag = true;
    pthread_cond_signal(&watch->change);
    pthread_mutex_unlock(&watch->lock);
}

void watch_wake(struct watch *watch) {
    set_flag(watch, &watch->woken);
}

void watch_end_all(struct watch *watch) {
    set_flag(watch, &watch->ending);
}

/* Sends the client a status that is new to it. Returns true if that ended the request. */
static bool tell(struct watched *watched, const struct request_status *status, bool coupon_exists) {
    struct request *request = watched->request;
    if (!status->found) {
        if (coupon_exists)
            request_end_not_found(request);
        else
            request_refuse(request, REFUSAL_COUPON_NOT_FOUND, NULL);
        return true;
    }
    if (request_status_is_final(status)) {
        request_answer(request, status);
        return true;
    }
    if (watched->told == TOLD_NOTHING) {
        watched->told = TOLD_ACCEPTED;
        request_answer(request, status);
    }
    return false;
}

/* Reads the states of the requests, and finds out whether the coupons of those that were not found exist. */
static bool look_up(struct watch *watch, struct request_status *rows, size_t n, bool *ret_coupon_exists,
                    struct err *err) {
    int64_t *ids = ARENA_ARRAY(&watch->arena, int64_t, n);
    bool *exist = ARENA_ARRAY(&watch->arena, bool, n);
    size_t missing = 0;
    if (!pg_connect(watch->pg, err) || !lookup_statuses(watch->pg, &watch->arena, rows, n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!rows[i].found)
            ids[missing++] = rows[i].coupon_id;
    if (missing && !coupon_rows_exist(watch->pg, &watch->arena, ids, missing, exist, err))
        return false;
    for (size_t i = n; i-- > 0;)
        ret_coupon_exists[i] = rows[i].found || exist[--missing];
    return true;
}

/* Looks at up to LOOK_MAX requests of the list, and puts those that go on back at its end. */
static void look(struct watch *watch) {
    struct watched *looked[LOOK_MAX];
    size_t n = 0, gone = 0;
    while (watch->list && n < LOOK_MAX) {
        struct watched *watched = watch->list;
        watch->list = watched->next;
        if (request_is_dropped(watched->request))
            gone++;
        else
            looked[n++] = watched;
    }
    struct request_status *rows = ARENA_ARRAY(&watch->arena, struct request_status, n);
    for (size_t i = 0; i < n; i++)
        rows[i] =
            (struct request_status){.coupon_id = looked[i]->request->coupon_id, .user_id = looked[i]->request->user_id};
    struct err err;
    int64_t start_us = clock_mono_us();
    bool *coupon_exists = ARENA_ARRAY(&watch->arena, bool, n);
    bool ok = n == 0 || look_up(watch, rows, n, coupon_exists, &err);
    if (!ok)
        stage_interrupted(&watch->outage, "watch", &err);
    else
        stage_resumed(&watch->outage, "watch");
    if (ok && n)
        batch_metrics_observe(&watch->metrics, n, clock_mono_us() - start_us);
    struct watched **end = &watch->list;
    while (*end)
        end = &(*end)->next;
    for (size_t i = 0; i < n; i++) {
        /* While Postgres fails, clients that have a status already go on waiting. New ones get the error. */
        bool over = ok ? tell(looked[i], &rows[i], coupon_exists[i]) : looked[i]->told == TOLD_NOTHING;
        if (!ok && over)
            request_fail(looked[i]->request, &err);
        if (over) {
            gone++;
        } else {
            looked[i]->next = NULL;
            *end = looked[i];
            end = &looked[i]->next;
        }
    }
    release(watch, gone);
    arena_reset(&watch->arena);
}

static void end_all(struct watch *watch) {
    size_t gone = 0;
    while (watch->list) {
        struct watched *watched = watch->list;
        watch->list = watched->next; /* before the answer, which frees the call's memory */
        request_refuse_stopping(watched->request);
        gone++;
    }
    release(watch, gone);
}

static bool has_reason(const struct watch *watch) {
    return watch->woken || watch->stopping || (watch->ending && (watch->arrivals || watch->list));
}

/* Waits for a reason to look, or for the next poll, and takes the arrivals. Returns false when the thread should
 * end. */
static bool wait_for_change(struct watch *watch, bool *ret_ending) {
    struct timespec until = clock_mono_timespec(clock_mono_us() + watch->poll_us);
    int timed_out = 0;
    pthread_mutex_lock(&watch->lock);
    while (!has_reason(watch) && !timed_out)
        timed_out = watch->list ? pthread_cond_timedwait(&watch->change, &watch->lock, &until)
                                : pthread_cond_wait(&watch->change, &watch->lock);
    watch->woken = false;
    struct watched *arrivals = watch->arrivals;
    watch->arrivals = NULL;
    *ret_ending = watch->ending;
    bool stopping = watch->stopping;
    pthread_mutex_unlock(&watch->lock);
    while (arrivals) { /* newcomers first */
        struct watched *next = arrivals->next;
        arrivals->next = watch->list;
        watch->list = arrivals;
        arrivals = next;
    }
    return !stopping;
}

static void *work(void *arg) {
    struct watch *watch = arg;
    struct heart *heart = heart_new("watch");
    bool ending, going = true;
    while (going) {
        heart_rest(heart);
        going = wait_for_change(watch, &ending);
        heart_work(heart);
        if (ending || !going)
            end_all(watch);
        else
            look(watch);
    }
    heart_free(heart);
    return NULL;
}

static double watched_now(void *arg) {
    struct watch *watch = arg;
    pthread_mutex_lock(&watch->lock);
    double count = (double)watch->count;
    pthread_mutex_unlock(&watch->lock);
    return count;
}

static void watch_free(struct watch *watch) {
    pg_free(watch->pg);
    arena_deinit(&watch->arena);
    pthread_cond_destroy(&watch->change);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

bool watch_start(struct context *context, struct watch **ret_watch, struct err *err) {
    struct watch *watch = memory_new(1, sizeof *watch);
    *watch = (struct watch){
        .pg = pg_new(&context->hot),
        .poll_us = context->config->watch_poll_ms * US_PER_MS,
        .max = (size_t)context->config->watch_max,
        .metrics = batch_metrics("watch"),
    };
    arena_init(&watch->arena, 64 * 1024);
    thread_cond_init_monotonic(&watch->change);
    pthread_mutex_init(&watch->lock, NULL);
    if (!thread_start("watch", work, watch, &watch->thread, err)) {
        watch_free(watch);
        return false;
    }
    metrics_gauge_fn(COUNT_METRIC, "Open WatchStatus streams.", "", watched_now, watch);
    *ret_watch = watch;
    return true;
}

void watch_stop(struct watch *watch) {
    if (!watch)
        return;
    set_flag(watch, &watch->stopping);
    pthread_join(watch->thread, NULL);
    metrics_gauge_fn(COUNT_METRIC, "", "", NULL, NULL);
    watch_free(watch);
}

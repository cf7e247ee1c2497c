/* SPDX-License-Identifier: Apache-2.0 */
/* Observes issuing from outside: calls GetCoupon until issued == accepted, and then GetStatus for a sample of accepted
 * requests.
 *
 * Threads: while the load runs, only the watch thread uses the counters of the coupons; after it has stopped, only the
 * main thread does. The load uses other members of the coupons. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "bench.h"
#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "output.h"

#define LOOK_EVERY_MS    20
#define LOOK_TIMEOUT_MS  2000
#define DRAIN_TIMEOUT_US (60 * US_PER_S)
#define WAVE_SIZE        100 /* calls in flight for samples: any queue of the server is longer */

/* --- counters of the coupons --- */

/* Asks for the counters of a coupon. On false there was no answer, and the next call goes to another server. */
static bool look(struct bench *bench, struct bench_coupon *coupon) {
    Coupon__V1__GetCouponRequest request = COUPON__V1__GET_COUPON_REQUEST__INIT;
    request.coupon_id = coupon->id;
    struct coupons_failure failure;
    Coupon__V1__GetCouponResponse *response =
        coupons_call_once(bench->watchers[bench->watcher].client, &request.base, LOOK_TIMEOUT_MS, &failure);
    if (!response) {
        coupons_failure_deinit(&failure);
        bench->watcher = (bench->watcher + 1) % bench->n_watchers;
        return false;
    }
    const Coupon__V1__Coupon *seen = response->coupon;
    bool is_there = seen != NULL;
    if (is_there) {
        if (seen->issued > coupon->issued)
            bench->result.last_issue_us = clock_mono_us();
        coupon->quantity = seen->quantity;
        coupon->accepted = seen->accepted;
        coupon->issued = seen->issued;
    }
    coupons_free(response);
    return is_there;
}

struct issue_watch {
    struct bench *bench;
    atomic_bool stopping;
    pthread_t thread;
};

/* The watch thread. It makes one call at a time, for one coupon after the other, so as not to disturb the measurement.
 * It skips coupons that are completely issued. */
static void *watch(void *arg) {
    struct issue_watch *watch = arg;
    struct bench *bench = watch->bench;
    const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    for (size_t turn = 0; !atomic_load(&watch->stopping); turn++) {
        struct bench_coupon *coupon = &bench->coupons[turn % bench->n_coupons];
        for (size_t i = 0; i < bench->n_coupons && coupon->issued == coupon->quantity; i++)
            coupon = &bench->coupons[++turn % bench->n_coupons];
        if (coupon->issued < coupon->quantity)
            look(bench, coupon);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

struct issue_watch *issue_watch_start(struct bench *bench) {
    struct issue_watch *new = memory_new(1, sizeof *new);
    new->bench = bench;
    if (pthread_create(&new->thread, NULL, watch, new) != 0)
        abort(); /* as when memory runs out */
    return new;
}

void issue_watch_stop(struct issue_watch *watch) {
    if (!watch)
        return;
    atomic_store(&watch->stopping, true);
    pthread_join(watch->thread, NULL);
    free(watch);
}

/* --- after the load --- */

/* Compares with the answers too: a counter that lags behind must not make a coupon look drained. */
static bool is_drained(const struct bench_coupon *coupon) {
    return coupon->issued == coupon->accepted && coupon->accepted >= coupon->accepted_before + coupon->given;
}

static void check_counters(struct bench *bench) {
    for (size_t i = 0; i < bench->n_coupons; i++) {
        const struct bench_coupon *coupon = &bench->coupons[i];
        if (coupon->issued > coupon->quantity || coupon->accepted > coupon->quantity)
            bench_contradict(bench, "coupon %" PRId64 " of %" PRId64 " has %" PRId64 " accepted and %" PRId64 " issued",
                             coupon->id, coupon->quantity, coupon->accepted, coupon->issued);
        if (coupon->max_ticket > coupon->quantity)
            bench_contradict(bench, "coupon %" PRId64 " of %" PRId64 " gave ticket %" PRId64, coupon->id,
                             coupon->quantity, coupon->max_ticket);
        if (coupon->accepted < coupon->accepted_before + coupon->given)
            bench_contradict(bench, "coupon %" PRId64 " counts %" PRId64 " accepted, the answers %" PRId64, coupon->id,
                             coupon->accepted, coupon->accepted_before + coupon->given);
    }
}

void bench_drain(struct bench *bench) {
    struct progress progress = {0};
    int64_t deadline_us = clock_mono_us() + DRAIN_TIMEOUT_US;
    size_t left = bench->n_coupons;
    while (left > 0 && !bench->result.is_interrupted && clock_mono_us() < deadline_us) {
        left = 0;
        for (size_t i = 0; i < bench->n_coupons; i++) {
            struct bench_coupon *coupon = &bench->coupons[i];
            bool is_seen = coupon->is_drained || look(bench, coupon);
            coupon->is_drained = is_seen && is_drained(coupon);
            left += !coupon->is_drained;
            if (!is_seen)
                break; /* no answer: wait, and check the deadline */
        }
        progress_show(&progress, bench, "drain");
        if (left > 0)
            bench->result.is_interrupted |= bench_tick(bench, LOOK_EVERY_MS);
    }
    progress_end(&progress);
    bench->result.is_drained = left == 0;
    if (!bench->result.is_interrupted)
        check_counters(bench);
}

/* --- samples --- */

struct wave {
    pthread_mutex_t lock;
    pthread_cond_t is_over;
    size_t in_flight;
};

struct question {
    struct rpc_client_call call; /* first, so that on_done can cast it to the question */
    struct wave *wave;
    int64_t took_us; /* -1: not issued, or no answer */
};

static void on_response(const Coupon__V1__GetStatusResponse *response, void *closure_data) {
    struct question *question = closure_data;
    const Coupon__V1__PublishStatus *status = response->status;
    if (status && status->accept_time && status->issue_time)
        question->took_us = timestamp_us(status->issue_time) - timestamp_us(status->accept_time);
}

static void on_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct wave *wave = ((struct question *)call)->wave;
    (void)status;
    pthread_mutex_lock(&wave->lock);
    if (--wave->in_flight == 0)
        pthread_cond_signal(&wave->is_over);
    pthread_mutex_unlock(&wave->lock);
}

static void ask(struct bench *bench, const struct sample *samples, size_t n) {
    struct question questions[WAVE_SIZE];
    ProtobufCService *service =
        coupons_service(bench->watchers[bench->watcher].client, &coupon__v1__coupon_service__descriptor);
    struct wave wave = {.lock = PTHREAD_MUTEX_INITIALIZER, .is_over = PTHREAD_COND_INITIALIZER, .in_flight = n};
    for (size_t i = 0; i < n; i++) {
        questions[i] =
            (struct question){.call = {.timeout_ms = LOOK_TIMEOUT_MS, .done = on_done}, .wave = &wave, .took_us = -1};
        Coupon__V1__GetStatusRequest request = COUPON__V1__GET_STATUS_REQUEST__INIT;
        request.coupon_id = samples[i].coupon_id;
        request.user_id = samples[i].user_id;
        coupon__v1__coupon_service__get_status(service, &request, on_response, &questions[i]);
    }
    pthread_mutex_lock(&wave.lock);
    while (wave.in_flight > 0)
        pthread_cond_wait(&wave.is_over, &wave.lock);
    pthread_mutex_unlock(&wave.lock);
    for (size_t i = 0; i < n; i++)
        if (questions[i].took_us >= 0)
            histogram_add(&bench->result.issued_us, questions[i].took_us);
    pthread_cond_destroy(&wave.is_over);
    pthread_mutex_destroy(&wave.lock);
}

void bench_ask_samples(struct bench *bench) {
    const struct bench_result *result = &bench->result;
    for (size_t at = 0; at < result->n_samples; at += WAVE_SIZE)
        ask(bench, result->samples + at, result->n_samples - at < WAVE_SIZE ? result->n_samples - at : WAVE_SIZE);
}

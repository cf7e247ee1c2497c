/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the bench verb, in the order of a run:
 *
 *   bench.c         reads the options, finds or creates the coupons, says how it ended
 *   bench_load.c    sends the requests and counts the answers
 *   bench_issue.c   watches the coupons being issued, and asks afterwards how long it took
 *   bench_report.c  progress, the final table, JSON
 *
 *   request      one (coupon, user); `users` per coupon
 *   answer       how a call finally ended: what was tried again within --retry gives one answer
 *   repeat       a request sent a second time, after its answer, with the same request_id: another answer
 *   slot         a place for one call in flight
 *   remote       a connection; neighbours in the array lead to different servers */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "ctl.h"
#include "histogram.h"

#define RUN_LEN_MAX       64 /* leaves room for two ids within the service's 128 bytes */
#define OUTCOME_SIZE      48
#define OUTCOMES_MAX      48 /* reasons and codes there are, with room */
#define SAMPLES_MAX       1000
#define CONTRADICTION_MAX 240

struct bench_coupon {
    int64_t id, quantity;
    int64_t accepted_before, issued_before;
    int64_t accepted, issued; /* as last seen by GetCoupon */
    bool is_drained;
    int64_t given; /* new tickets in answers */
    int64_t max_ticket;
    uint64_t *tickets; /* a bit each, from accepted_before + 1 on */
    int64_t n_bits;
};

struct outcome {
    char name[OUTCOME_SIZE];
    int64_t n;
};

struct sample {
    int64_t coupon_id, user_id;
};

/* `lock` guards it while the load runs. Times are monotonic, 0 where it did not happen. */
struct bench_result {
    int64_t begin_us, last_answer_us, last_accept_us, last_issue_us;
    int64_t answers, accepted; /* accepted: new tickets */
    int64_t known;             /* accepted before this run */
    int64_t retries, repeats;
    struct outcome outcomes[OUTCOMES_MAX];
    size_t n_outcomes;
    struct histogram answer_us, served_us, refused_us, issued_us; /* served: answered OK */
    struct sample samples[SAMPLES_MAX];
    size_t n_samples;
    int64_t contradictions;
    char contradiction[CONTRADICTION_MAX]; /* the first */
    bool is_interrupted, is_drained;
};

struct bench {
    struct ctl *ctl;
    /* settings */
    int64_t users, first_user, concurrency, repeat_percent, retry_for_ms;
    double rate; /* per second; 0: as fast as answers come */
    bool retry, no_wait;
    char run[RUN_LEN_MAX + 1];
    FILE *log;
    /* what it runs on */
    struct remote *remotes; /* for the load */
    size_t n_remotes;
    struct remote *watchers; /* for everything else: one per server, the next one when a call fails */
    size_t n_watchers, watcher;
    struct bench_coupon *coupons;
    size_t n_coupons;

    pthread_mutex_t lock;
    struct bench_result result;
};

/* Sends everything and returns when every answer is there, or soon after a signal. */
void bench_load(struct bench *bench);

struct issue_watch;
/* Looks at the coupons now and then while the load runs, so that the last issue is not only seen after it. */
struct issue_watch *issue_watch_start(struct bench *bench);
void issue_watch_stop(struct issue_watch *watch);
/* After the load: waits until all that was accepted is issued. */
void bench_drain(struct bench *bench);
/* Asks for the status of the samples. */
void bench_ask_samples(struct bench *bench);

/* Lock held, or no threads. */
void bench_contradict(struct bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Waits up to `ms`; true when SIGINT or SIGTERM came (bench blocks both, so that nothing is cut short). */
bool bench_tick(struct bench *bench, int64_t ms);

struct progress {
    bool is_terminal;
    int64_t shown_us;
};
void progress_show(struct progress *progress, struct bench *bench, const char *phase);
void progress_end(struct progress *progress);
void bench_report(const struct bench *bench);

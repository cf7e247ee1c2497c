/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the verb bench. Each calls only parts below it:
 *
 *   bench.c         reads the options, finds or creates the coupons, runs the parts, judges the result
 *   bench_load.c    sends the requests and counts the answers
 *   bench_issue.c   observes how the coupons are issued, and asks afterwards how long it took
 *   bench_report.c  prints progress, the final table, and JSON
 *   bench_run.c     serves all parts: signals, and answers that contradict each other
 *
 *   request      a pair (coupon, user); each coupon has `users` of them
 *   answer       the final result of a request; attempts before a retry do not count
 *   repeat       a request sent a second time, after its answer, with the same request_id; it gets another answer
 *   slot         a place for one call in flight
 *   remote       a connection; neighbors in the array lead to different servers */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "ctl.h"
#include "histogram.h"

#define RUN_LEN_MAX       64 /* leaves room for two ids: a request_id has 128 bytes at most */
#define OUTCOME_SIZE      48
#define OUTCOMES_MAX      48 /* more than there are reasons and codes */
#define SAMPLES_MAX       1000
#define CONTRADICTION_MAX 240

struct bench_coupon {
    int64_t id, quantity;
    int64_t accepted_before, issued_before;
    int64_t accepted, issued; /* in the last answer of GetCoupon */
    bool is_drained;
    int64_t given; /* new tickets in answers */
    int64_t max_ticket;
    uint64_t *tickets; /* a bit for each, from accepted_before + 1 on: was it given? */
    int64_t n_bits;
};

struct outcome {
    char name[OUTCOME_SIZE];
    int64_t n;
};

struct sample {
    int64_t coupon_id, user_id;
};

/* bench.lock guards it while the load runs. Times are monotonic; 0 means never. */
struct bench_result {
    int64_t begin_us, last_answer_us, last_accept_us, last_issue_us;
    int64_t answers, accepted; /* accepted: new tickets */
    int64_t known;             /* answers with a ticket from before this run */
    int64_t retries, repeats;
    struct outcome outcomes[OUTCOMES_MAX];
    size_t n_outcomes;
    struct histogram answer_us, served_us, refused_us, issued_us; /* served: answered OK; refused: all other answers */
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
    double rate; /* requests per second; 0: a new one when an answer comes */
    bool retry, no_wait;
    char run[RUN_LEN_MAX + 1];
    FILE *log;
    /* servers and coupons */
    struct remote *remotes; /* for the load */
    size_t n_remotes;
    struct remote *watchers; /* for all other calls: one per server; after a failed call the next one is used */
    size_t n_watchers, watcher;
    struct bench_coupon *coupons;
    size_t n_coupons;

    pthread_mutex_t lock;
    struct bench_result result;
};

/* bench_load.c. Sends all requests, and returns when all answers have come, or soon after a signal. */
void bench_load(struct bench *bench);

/* bench_issue.c. A thread that asks for the counters of the coupons while the load runs, so that the time of the last
 * issue is known even if it is before the end of the load. */
struct issue_watch;
struct issue_watch *issue_watch_start(struct bench *bench);
void issue_watch_stop(struct issue_watch *watch);
/* After the load: waits up to 60 s until all accepted requests are issued. */
void bench_drain(struct bench *bench);
/* Asks for the status of the samples, and records the time from accepted to issued. */
void bench_ask_samples(struct bench *bench);

/* bench_report.c. Progress goes to stderr, the report to stdout. */
struct progress {
    bool is_terminal;
    int64_t shown_us;
};
void progress_show(struct progress *progress, struct bench *bench, const char *phase);
void progress_end(struct progress *progress);
void bench_report(const struct bench *bench);

/* bench_run.c. Counts a contradiction, and keeps the text of the first one. The caller holds bench.lock, unless no
 * other thread runs. */
void bench_contradict(struct bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Blocks SIGINT and SIGTERM, so that they do not end the process. Call it before any thread starts. */
void bench_block_signals(void);
/* Waits up to `ms` for SIGINT or SIGTERM. Returns true, and marks the result as interrupted, if one came. */
bool bench_tick(struct bench *bench, int64_t ms);

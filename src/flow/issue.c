/* issue.workers threads, each a member of the group coupon-issuer with a connection of its own. */
#include "flow/issue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "flow/issue_batch.h"
#include "flow/relay.h"
#include "flow/stage.h"
#include "flow/totals.h"
#include "flow/trouble.h"
#include "flow/watch.h"

#define GROUP         "coupon-issuer"
#define LAG_METRIC    "couponsd_issue_lag_messages"
#define WAIT_MS       100
#define RETRY_WAIT_MS 250
#define LAG_EVERY_US  US_PER_S
/* A gap that is still there after so many seeks is no slip of the client: the messages are gone. */
#define GAP_SEEKS_MAX 5

struct worker {
    struct issue *issue;
    pthread_t thread;
    struct pg *pg;
    struct kafka_consumer *consumer;
    struct arena arena;
    struct kafka_message *messages;
    /* What is assigned to us. */
    size_t n_assigned;
    int32_t *assigned;
    bool reposition; /* the consumer's place is in doubt */
    int64_t gap_expected;
    int gap_seeks;
    struct outage outage;
    int64_t lag_us;
    _Atomic int64_t lag;
};

struct issue {
    char topic[KAFKA_TOPIC_MAX];
    const struct kafka_options *kafka;
    int lanes, n_workers;
    size_t batch_max;
    struct relay *relay;
    struct watch *watch;
    struct worker *workers;
    struct batch_metrics metrics;
    struct metric *gaps, *duplicates;
    atomic_bool stopping;
};

static bool on_assign(void *arg, const int32_t *partitions, const int64_t *low, int64_t *ret_start, size_t n) {
    struct worker *worker = arg;
    struct err err;
    free(worker->assigned);
    worker->assigned = malloc(n * sizeof *worker->assigned);
    if (!worker->assigned)
        abort();
    memcpy(worker->assigned, partitions, n * sizeof *partitions);
    worker->n_assigned = n;
    bool ok = pg_connect(worker->pg, &err) &&
              issuance_offsets(worker->pg, &worker->arena, worker->issue->topic, partitions, low, n, ret_start, &err);
    worker->reposition = !ok;
    log_info("issue.assigned", LOG_INT("partitions", n), LOG_STR("offsets", ok ? "postgres" : "to be read later"));
    return ok;
}

static void on_revoke(void *arg) {
    struct worker *worker = arg;
    log_info("issue.revoked", LOG_INT("partitions", worker->n_assigned));
    worker->n_assigned = 0;
}

/* Back to where Postgres says we are. */
static bool reposition(struct worker *worker, struct err *err) {
    size_t n = worker->n_assigned;
    if (!pg_connect(worker->pg, err))
        return false;
    int64_t *next = ARENA_ARRAY(&worker->arena, int64_t, n), *none = arena_zalloc(&worker->arena, n * sizeof *none);
    if (n && !issuance_offsets(worker->pg, &worker->arena, worker->issue->topic, worker->assigned, none, n, next, err))
        return false;
    if (n && !kafka_seek(worker->consumer, worker->assigned, next, n, err))
        return false;
    kafka_pause(worker->consumer, false);
    worker->reposition = false;
    return true;
}

static void note_gap(struct worker *worker, const struct issue_batch_result *result) {
    worker->gap_seeks = result->gap_expected == worker->gap_expected ? worker->gap_seeks + 1 : 1;
    worker->gap_expected = result->gap_expected;
    worker->reposition = true;
    metric_add(worker->issue->gaps, 1);
    if (worker->gap_seeks >= GAP_SEEKS_MAX)
        log_error("issue.messages_lost", LOG_INT("partition", result->gap_partition),
                  LOG_INT("expected_offset", result->gap_expected), LOG_INT("found_offset", result->gap_found),
                  LOG_STR("then", "going on; the reconciler sends unissued tickets again"));
    else
        log_warn("issue.gap", LOG_INT("partition", result->gap_partition),
                 LOG_INT("expected_offset", result->gap_expected), LOG_INT("found_offset", result->gap_found));
}

static void after_commit(struct worker *worker, const struct issue_batch_result *result) {
    struct issue *issue = worker->issue;
    if (result->issued)
        relay_wake(issue->relay);
    if (result->issued || result->rejected)
        watch_wake(issue->watch);
    totals_issued((int64_t)result->issued);
    totals_rejected((int64_t)result->rejected);
    totals_dead_lettered((int64_t)result->dead);
    metric_add(issue->duplicates, (int64_t)result->duplicates);
    for (size_t i = 0; i < result->n_partitions; i++)
        kafka_commit(worker->consumer, result->partition[i], result->next_offset[i]);
    if (result->dead)
        log_warn("issue.dead_letters", LOG_INT("n", result->dead));
    if (result->gap)
        note_gap(worker, result);
}

static void work_on(struct worker *worker, size_t n) {
    struct issue *issue = worker->issue;
    struct issue_batch_result result;
    struct err err;
    int64_t start_us = clock_mono_us();
    int64_t accept_gap_at = worker->gap_seeks >= GAP_SEEKS_MAX ? worker->gap_expected : -1;
    if (pg_connect(worker->pg, &err) && issue_batch_run(worker->pg, &worker->arena, issue->lanes, issue->topic,
                                                        worker->messages, n, accept_gap_at, &result, &err)) {
        trouble_over(&worker->outage, "issue");
        after_commit(worker, &result);
        batch_metrics_observe(&issue->metrics, n, clock_mono_us() - start_us);
    } else {
        trouble_failed(&worker->outage, "issue", &err);
        worker->reposition = true;
    }
    kafka_release(worker->messages, n);
}

static void measure_lag(struct worker *worker) {
    int64_t now_us = clock_mono_us();
    if (now_us - worker->lag_us < LAG_EVERY_US)
        return;
    worker->lag_us = now_us;
    atomic_store(&worker->lag, kafka_consumer_lag(worker->consumer));
}

static void *work(void *arg) {
    struct worker *worker = arg;
    struct issue *issue = worker->issue;
    struct err err;
    while (!atomic_load(&issue->stopping)) {
        if (worker->reposition && !reposition(worker, &err)) {
            trouble_failed(&worker->outage, "issue", &err);
            kafka_pause(worker->consumer, true);
        }
        size_t n = kafka_consume(worker->consumer, worker->reposition ? RETRY_WAIT_MS : WAIT_MS, worker->messages,
                                 issue->batch_max);
        if (worker->reposition)
            kafka_release(worker->messages, n); /* from a place in doubt */
        else if (n)
            work_on(worker, n);
        measure_lag(worker);
        arena_reset(&worker->arena);
    }
    return NULL;
}

static double lag(void *arg) {
    struct issue *issue = arg;
    int64_t sum = 0;
    for (int i = 0; i < issue->n_workers; i++)
        sum += atomic_load(&issue->workers[i].lag);
    return (double)sum;
}

static void worker_start(struct issue *issue, struct worker *worker, const struct pg_options *postgres) {
    worker->issue = issue;
    worker->pg = pg_new(postgres);
    worker->messages = calloc(issue->batch_max, sizeof *worker->messages);
    if (!worker->messages)
        abort();
    worker->gap_expected = -1;
    arena_init(&worker->arena, 1024 * 1024);
    struct kafka_consumer_events events = {.arg = worker, .on_assign = on_assign, .on_revoke = on_revoke};
    struct err err;
    if (!kafka_consumer_new(issue->kafka, STREAM_REQUESTED, GROUP, &events, &worker->consumer, &err)) {
        log_error("issue.no_consumer", LOG_ERR(&err));
        abort(); /* our own settings were refused: a defect */
    }
    if (pthread_create(&worker->thread, NULL, work, worker))
        abort();
}

struct issue *issue_start(const struct config *config, const struct pg_options *postgres,
                          const struct kafka_options *kafka, struct relay *relay, struct watch *watch) {
    struct issue *issue = calloc(1, sizeof *issue);
    if (!issue)
        abort();
    *issue = (struct issue){
        .kafka = kafka,
        .lanes = (int)config->flow_lanes,
        .n_workers = (int)config->issue_workers,
        .batch_max = (size_t)config->issue_batch_max,
        .relay = relay,
        .watch = watch,
        .workers = calloc((size_t)config->issue_workers, sizeof *issue->workers),
        .metrics = batch_metrics("issue"),
        .gaps = metrics_counter("couponsd_issue_gaps_total", "Times that messages were missing before one.", ""),
        .duplicates = metrics_counter("couponsd_issue_duplicates_total", "Events that were decided before.", ""),
    };
    if (!issue->workers)
        abort();
    kafka_topic_name(kafka, STREAM_REQUESTED, issue->topic);
    for (int i = 0; i < issue->n_workers; i++)
        worker_start(issue, &issue->workers[i], postgres);
    metrics_gauge_fn(LAG_METRIC, "Messages of our partitions that issue has not taken.", "", lag, issue);
    return issue;
}

void issue_stop(struct issue *issue) {
    if (!issue)
        return;
    metrics_gauge_fn(LAG_METRIC, "", "", NULL, NULL);
    atomic_store(&issue->stopping, true);
    for (int i = 0; i < issue->n_workers; i++) {
        struct worker *worker = &issue->workers[i];
        pthread_join(worker->thread, NULL);
        kafka_consumer_free(worker->consumer);
        pg_free(worker->pg);
        arena_deinit(&worker->arena);
        free(worker->messages);
        free(worker->assigned);
    }
    free(issue->workers);
    free(issue);
}

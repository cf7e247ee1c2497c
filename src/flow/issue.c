/* SPDX-License-Identifier: Apache-2.0 */
/* Issue's workers; see issue.h.
 *
 * There are issue.workers threads. Each is a member of the consumer group coupon-issuer, and has its own consumer,
 * connection and arena. on_assign and on_revoke run on the worker's thread too, from within kafka_consume. Other
 * threads read only a worker's `lag`. */
#include "flow/issue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/heart.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "flow/counters.h"
#include "flow/issue/batch.h"
#include "flow/kafka_errors.h"
#include "flow/read/watch.h"
#include "flow/relay.h"
#include "flow/stage.h"

#define LAG_METRIC    "couponsd_issue_lag_messages"
#define WAIT_MS       100
#define RETRY_WAIT_MS 250
#define LOOK_EVERY_US US_PER_S
/* After this many seeks to the same gap, issue goes on without the messages. */
#define GAP_SEEKS_MAX 5

struct worker {
    struct issue *issue;
    pthread_t thread;
    bool is_running; /* the thread has started */
    struct pg *pg;
    struct kafka_consumer *consumer;
    struct coupon_cache *cache;
    struct arena arena;
    struct kafka_message *messages;
    /* The partitions that are assigned to this worker. */
    size_t n_assigned;
    struct kafka_place *assigned;
    bool reposition;         /* the consumer's positions are in doubt */
    struct accepted_gap gap; /* the last gap found */
    int gap_seeks;
    struct outage outage;
    struct kafka_errors kafka_errors;
    int64_t looked_us;
    _Atomic int64_t lag;
};

struct issue {
    int lanes, n_workers;
    size_t batch_max;
    struct relay *relay;
    struct watch *watch;
    struct tracer *tracer;
    struct worker *workers;
    struct batch_metrics metrics;
    struct metric *gaps, *duplicates;
    atomic_bool stopping;
};

/* A stored offset above the topic's end belongs to a deleted topic of the same name. The new topic is read from its
 * beginning: sets next[i] for such partitions. */
static bool notice_new_topics(struct worker *worker, const struct kafka_place *places, size_t n, int64_t *next,
                              struct err *err) {
    int64_t *low = ARENA_ARRAY(&worker->arena, int64_t, n), *high = ARENA_ARRAY(&worker->arena, int64_t, n);
    /* Read the ends again, after the offsets: another member may have moved on since the first time. */
    if (!kafka_ends(worker->consumer, places, n, low, high, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (high[i] < 0 || low[i] < 0 || next[i] <= high[i])
            continue;
        log_warn("issue.topic_recreated", LOG_STR("topic", places[i].topic), LOG_INT("partition", places[i].partition),
                 LOG_INT("stored_offset", next[i]), LOG_INT("end", high[i]));
        if (!issuance_move_offset(worker->pg, &worker->arena, &places[i], next[i], low[i], err))
            return false;
        next[i] = low[i];
    }
    return true;
}

static bool read_offsets(struct worker *worker, const struct kafka_place *places, size_t n, int64_t *ret_next,
                         struct err *err) {
    int64_t *low = ARENA_ARRAY(&worker->arena, int64_t, n), *high = ARENA_ARRAY(&worker->arena, int64_t, n);
    bool above = false;
    if (!kafka_ends(worker->consumer, places, n, low, high, err))
        return false;
    for (size_t i = 0; i < n; i++)
        low[i] = low[i] < 0 ? 0 : low[i];
    const struct stored_offsets offsets = {.n = n, .places = places, .if_none = low, .next_offset = ret_next};
    if (!issuance_offsets(worker->pg, &worker->arena, &offsets, err))
        return false;
    for (size_t i = 0; i < n; i++)
        above = above || (high[i] >= 0 && ret_next[i] > high[i]);
    if (above && !notice_new_topics(worker, places, n, ret_next, err))
        return false;
    return true;
}

/* The previous owner may have died between the commit to Postgres and the commit to Kafka. If no more messages arrive,
 * Kafka would never get the offsets. */
static void commit_stored(struct worker *worker, const struct kafka_place *places, const int64_t *next, size_t n) {
    for (size_t i = 0; i < n; i++)
        kafka_commit(worker->consumer, &places[i], next[i]);
}

static bool on_assign(void *arg, const struct kafka_place *places, int64_t *ret_start, size_t n) {
    struct worker *worker = arg;
    struct err err;
    worker->assigned = memory_resize(worker->assigned, n, sizeof *worker->assigned);
    memcpy(worker->assigned, places, n * sizeof *places);
    worker->n_assigned = n;
    FAULT_POINT("issue", "before_assign");
    bool ok = n == 0 || (pg_connect(worker->pg, &err) && read_offsets(worker, places, n, ret_start, &err));
    worker->reposition = !ok;
    if (ok)
        commit_stored(worker, places, ret_start, n);
    FAULT_POINT("issue", "after_assign");
    log_info("issue.assigned", LOG_INT("partitions", n), LOG_STR("offsets", ok ? "postgres" : "to be read later"));
    return ok;
}

static void on_revoke(void *arg) {
    struct worker *worker = arg;
    log_info("issue.revoked", LOG_INT("partitions", worker->n_assigned));
    worker->n_assigned = 0;
}

static void on_error(void *arg, const struct kafka_failure *failure) {
    struct worker *worker = arg;
    kafka_errors_note(&worker->kafka_errors, failure);
}

/* Reads the stored offsets and seeks to them. */
static bool reposition(struct worker *worker, struct err *err) {
    size_t n = worker->n_assigned;
    FAULT_POINT("issue", "before_reposition");
    if (!pg_connect(worker->pg, err))
        return false;
    int64_t *next = ARENA_ARRAY(&worker->arena, int64_t, n);
    if (n && !read_offsets(worker, worker->assigned, n, next, err))
        return false;
    if (n && !kafka_seek(worker->consumer, worker->assigned, next, n, err))
        return false;
    commit_stored(worker, worker->assigned, next, n);
    kafka_pause(worker->consumer, false);
    worker->reposition = false;
    FAULT_POINT("issue", "after_reposition");
    return true;
}

/* --- holes and gaps ---
 *
 *   hole   offsets that hold no message, e.g. the marker of another program's transaction: no loss
 *   gap    a jump in the offsets that issue cannot explain yet: it seeks back and looks again
 *   loss   messages that the broker deleted before issue read them, or that do not come for another reason */

static void tell_loss(struct worker *worker, const struct kafka_place *place, int64_t expected, int64_t found) {
    metric_add(worker->issue->gaps, 1);
    log_error("issue.messages_lost", LOG_STR("topic", place->topic), LOG_INT("partition", place->partition),
              LOG_INT("expected_offset", expected), LOG_INT("found_offset", found),
              LOG_STR("then", "issue goes on; the reconciler resends unissued tickets"));
}

/* Asks the broker for the oldest offset of each place that has a hole in this batch. If messages of a hole were
 * deleted, tells of the loss. Takes the hole back if the broker does not answer. */
static void weigh_holes(struct worker *worker, size_t n) {
    struct kafka_message *messages = worker->messages;
    struct kafka_place *places = NULL;
    size_t n_places = 0;
    for (size_t i = 0; i < n; i++) {
        if (messages[i].hole == 0)
            continue;
        if (!places)
            places = ARENA_ARRAY(&worker->arena, struct kafka_place, worker->n_assigned + 1);
        size_t at = 0;
        while (at < n_places && kafka_place_compare(&places[at], &messages[i].place) != 0)
            at++;
        if (at == n_places && n_places <= worker->n_assigned)
            places[n_places++] = messages[i].place;
    }
    if (n_places == 0)
        return;
    struct err err;
    int64_t *low = ARENA_ARRAY(&worker->arena, int64_t, n_places);
    bool has_answer = kafka_ends(worker->consumer, places, n_places, low, NULL, &err);
    for (size_t i = 0; i < n; i++) {
        struct kafka_message *message = &messages[i];
        size_t at = 0;
        while (at < n_places && kafka_place_compare(&places[at], &message->place) != 0)
            at++;
        if (message->hole == 0)
            continue;
        if (!has_answer || at == n_places || low[at] < 0)
            message->hole = 0;
        else if (low[at] > message->offset - message->hole)
            tell_loss(worker, &message->place, message->offset - message->hole, message->offset);
    }
}

/* Moves the stored offsets over holes at the ends of the partitions, where no message will. If a hole is unproven,
 * repositions. `stored` has an element for each assigned place. */
static bool pass_end_holes(struct worker *worker, const int64_t *stored, struct err *err) {
    for (size_t i = 0; i < worker->n_assigned; i++) {
        const struct kafka_place *place = &worker->assigned[i];
        const struct kafka_end_hole end = kafka_end_hole(worker->consumer, place);
        int64_t low;
        if (end.from != stored[i] || end.to <= end.from)
            continue;
        if (!end.is_proven) {
            worker->reposition = true;
            continue;
        }
        if (!kafka_ends(worker->consumer, place, 1, &low, NULL, err) ||
            !issuance_move_offset(worker->pg, &worker->arena, place, end.from, end.to, err))
            return false;
        if (low > end.from)
            tell_loss(worker, place, end.from, end.to);
        kafka_pass_end_hole(worker->consumer, place);
        kafka_commit(worker->consumer, place, end.to);
    }
    return true;
}

/* A position above the stored offset means that somebody has set the offset back. A position or an end below it means
 * that the log has gone back: an unclean election, or a topic that was deleted and created again. librdkafka then reads
 * on from elsewhere without an error, and issue would skip what has a lower offset. Repositions in both cases. A place
 * without a stored offset is left alone: its topic was deleted on command, and the consumer may not know it yet. If a
 * message arrives there anyway, it counts as a gap, and repositioning stores an offset. */
static bool check_positions(struct worker *worker, struct err *err) {
    size_t n = worker->n_assigned;
    int64_t *stored = ARENA_ARRAY(&worker->arena, int64_t, n), *here = ARENA_ARRAY(&worker->arena, int64_t, n);
    int64_t *ends = ARENA_ARRAY(&worker->arena, int64_t, n);
    if (n == 0)
        return true;
    const struct stored_offsets offsets = {.n = n, .places = worker->assigned, .next_offset = stored};
    if (!pg_connect(worker->pg, err) || !issuance_offsets(worker->pg, &worker->arena, &offsets, err))
        return false;
    kafka_positions(worker->consumer, worker->assigned, n, here);
    kafka_cached_ends(worker->consumer, worker->assigned, n, ends);
    for (size_t i = 0; i < n; i++) {
        /* Repositioning asks the broker, and tells if the log has gone back. */
        if ((here[i] >= 0 && here[i] < stored[i]) || (ends[i] >= 0 && ends[i] < stored[i]))
            worker->reposition = true;
        if (stored[i] >= 0 && here[i] > stored[i]) {
            log_warn("issue.set_back", LOG_STR("topic", worker->assigned[i].topic),
                     LOG_INT("partition", worker->assigned[i].partition), LOG_INT("from_offset", here[i]),
                     LOG_INT("to_offset", stored[i]));
            worker->reposition = true;
        }
    }
    return worker->reposition || pass_end_holes(worker, stored, err);
}

static void note_gap(struct worker *worker, const struct issue_batch_result *result) {
    bool same = worker->gap.next_offset == result->gap_expected &&
                kafka_place_compare(&worker->gap.place, &result->gap_place) == 0;
    worker->gap_seeks = same ? worker->gap_seeks + 1 : 1;
    worker->gap = (struct accepted_gap){result->gap_place, result->gap_expected};
    worker->reposition = true;
    if (worker->gap_seeks >= GAP_SEEKS_MAX) {
        tell_loss(worker, &result->gap_place, result->gap_expected, result->gap_found);
        return;
    }
    if (worker->gap_seeks > 1) /* at first sight it is a hole as a rule, which the second look proves */
        metric_add(worker->issue->gaps, 1);
    log_info("issue.gap", LOG_STR("topic", result->gap_place.topic), LOG_INT("partition", result->gap_place.partition),
             LOG_INT("expected_offset", result->gap_expected), LOG_INT("found_offset", result->gap_found),
             LOG_STR("then", "issue looks again"));
}

/* Tells if the second look has found the messages that the first one had missed. */
static void check_gap(struct worker *worker, size_t n) {
    for (size_t i = 0; i < n && worker->gap_seeks > 0; i++) {
        const struct kafka_message *message = &worker->messages[i];
        if (message->offset - message->hole > worker->gap.next_offset || message->offset < worker->gap.next_offset ||
            kafka_place_compare(&message->place, &worker->gap.place) != 0)
            continue;
        worker->gap_seeks = 0;
        if (message->hole)
            continue;
        metric_add(worker->issue->gaps, 1);
        log_warn("issue.gap_closed", LOG_STR("topic", message->place.topic),
                 LOG_INT("partition", message->place.partition), LOG_INT("offset", message->offset),
                 LOG_STR("meaning", "the Kafka client had skipped messages; none is lost"));
    }
}

static void after_commit(struct worker *worker, const struct issue_batch_result *result) {
    struct issue *issue = worker->issue;
    if (result->issued)
        relay_wake(issue->relay, false);
    if (result->issued || result->rejected)
        watch_wake(issue->watch);
    counters_issued((int64_t)result->issued);
    counters_rejected((int64_t)result->rejected);
    counters_dead_lettered((int64_t)result->dead);
    metric_add(issue->duplicates, (int64_t)result->duplicates);
    for (size_t i = 0; i < result->n_places; i++)
        kafka_commit(worker->consumer, &result->places[i], result->next_offset[i]);
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
    weigh_holes(worker, n);
    check_gap(worker, n);
    struct accepted_gap accepted = worker->gap;
    if (worker->gap_seeks < GAP_SEEKS_MAX)
        accepted.place = (struct kafka_place){"", 0}; /* no gap */
    const struct issue_means means = {worker->pg, &worker->arena, worker->cache, issue->lanes, issue->tracer};
    if (pg_connect(worker->pg, &err) && issue_batch_run(&means, worker->messages, n, &accepted, &result, &err)) {
        stage_resumed(&worker->outage, "issue");
        after_commit(worker, &result);
        batch_metrics_observe(&issue->metrics, n, clock_mono_us() - start_us);
    } else {
        stage_interrupted(&worker->outage, "issue", &err);
        worker->reposition = true;
    }
    kafka_release(worker->messages, n);
}

static void look_around(struct worker *worker) {
    int64_t now_us = clock_mono_us();
    struct err err;
    if (now_us - worker->looked_us < LOOK_EVERY_US)
        return;
    worker->looked_us = now_us;
    atomic_store(&worker->lag, kafka_consumer_lag(worker->consumer));
    if (!worker->reposition && !check_positions(worker, &err)) {
        stage_interrupted(&worker->outage, "issue", &err);
        worker->reposition = true;
    }
}

static void *work(void *arg) {
    struct worker *worker = arg;
    struct issue *issue = worker->issue;
    struct err err;
    struct heart *heart = heart_new("issue");
    while (!atomic_load(&issue->stopping)) {
        heart_work(heart); /* each wait is short */
        if (worker->reposition && !reposition(worker, &err)) {
            stage_interrupted(&worker->outage, "issue", &err);
            kafka_pause(worker->consumer, true);
        }
        if (!worker->reposition) /* an assignment has brought the offsets, perhaps after a pause */
            kafka_pause(worker->consumer, false);
        size_t n = kafka_consume(worker->consumer, worker->reposition ? RETRY_WAIT_MS : WAIT_MS, worker->messages,
                                 issue->batch_max);
        if (worker->reposition)
            kafka_release(worker->messages, n); /* the position is in doubt */
        else if (n)
            work_on(worker, n);
        look_around(worker);
        arena_reset(&worker->arena);
    }
    heart_free(heart);
    return NULL;
}

static double lag(void *arg) {
    struct issue *issue = arg;
    int64_t sum = 0;
    for (int i = 0; i < issue->n_workers; i++)
        sum += atomic_load(&issue->workers[i].lag);
    return (double)sum;
}

static bool worker_start(struct worker *worker, struct context *context, struct err *err) {
    const struct issue *issue = worker->issue;
    const struct kafka_consumer_events events = {.arg = worker,
                                                 .group = &context->groups[STREAM_REQUESTED],
                                                 .on_assign = on_assign,
                                                 .on_revoke = on_revoke,
                                                 .on_error = on_error};
    worker->pg = pg_new(&context->hot);
    kafka_errors_init(&worker->kafka_errors, "issue");
    worker->cache = coupon_cache_new(issue->lanes);
    worker->messages = memory_new(issue->batch_max, sizeof *worker->messages);
    worker->gap = (struct accepted_gap){{"", 0}, -1};
    arena_init(&worker->arena, 1024 * 1024);
    worker->is_running = kafka_consumer_new(&context->kafka, STREAM_REQUESTED, NULL, &events, &worker->consumer, err) &&
                         thread_start("issue", work, worker, &worker->thread, err);
    return worker->is_running;
}

bool issue_start(struct context *context, struct issue **ret_issue, struct err *err) {
    const struct config *config = context->config;
    struct issue *issue = memory_new(1, sizeof *issue);
    *issue = (struct issue){
        .lanes = (int)config->flow_lanes,
        .batch_max = (size_t)config->issue_batch_max,
        .relay = context->relays[STREAM_PUBLISHED],
        .watch = context->watch,
        .tracer = context->tracer,
        .workers = memory_new((size_t)config->issue_workers, sizeof *issue->workers),
        .metrics = batch_metrics("issue"),
        .gaps = metrics_counter("couponsd_issue_gaps_total",
                                "Jumps in the offsets that were no holes: losses of messages, and gaps that took more "
                                "than a second look.",
                                ""),
        .duplicates = metrics_counter("couponsd_issue_duplicates_total",
                                      "Events whose ticket was already issued or rejected.", ""),
    };
    while (issue->n_workers < config->issue_workers) {
        struct worker *worker = &issue->workers[issue->n_workers++];
        worker->issue = issue;
        if (!worker_start(worker, context, err)) {
            issue_stop(issue);
            return false;
        }
    }
    metrics_gauge_fn(LAG_METRIC, "Messages in this process's partitions that issue has not processed.", "", lag, issue);
    *ret_issue = issue;
    return true;
}

void issue_stop(struct issue *issue) {
    if (!issue)
        return;
    metrics_gauge_fn(LAG_METRIC, "", "", NULL, NULL);
    atomic_store(&issue->stopping, true);
    for (int i = 0; i < issue->n_workers; i++) {
        struct worker *worker = &issue->workers[i];
        if (worker->is_running)
            pthread_join(worker->thread, NULL);
        kafka_consumer_free(worker->consumer);
        pg_free(worker->pg);
        coupon_cache_free(worker->cache);
        arena_deinit(&worker->arena);
        free(worker->messages);
        free(worker->assigned);
    }
    free(issue->workers);
    free(issue);
}

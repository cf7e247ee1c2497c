/* SPDX-License-Identifier: Apache-2.0 */
/* The relay of one stream; see relay.h.
 *
 * relay/lane.h has the vocabulary of a lane.
 *
 * The relay's thread owns everything; on_ack also runs on it, from within kafka_producer_poll. Other threads only
 * write to wake_fd, `woken`, `gathered`, `check_topics` and `stopping`. */
#include "flow/relay.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/heart.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "flow/relay/coupon_topics.h"
#include "flow/relay/failures.h"
#include "flow/relay/lane.h"
#include "flow/relay/lane_move.h"
#include "flow/relay/relay_spans.h"
#include "flow/stage.h"
#include "store/topics.h"

/* How often the relay tries to take lanes that it does not own, and measures the lag. */
#define LANES_EVERY_US (500 * US_PER_MS)
#define RETRY_US       (250 * US_PER_MS)
/* Postgres ends the connection of a relay that is silent for this long, e.g. because its process is stopped, so that
 * others can take its lanes. Longer than Kafka may hold up a round. */
#define IDLE_MS (TOPICS_TIMEOUT_MS + 1000)
/* How often the relay checks whether a moving lane may go on. */
#define MOVE_EVERY_US     (20 * US_PER_MS)
#define MOVE_RETRY_US     (10 * US_PER_S) /* after Kafka did not answer; asking blocks for up to 2 s */
#define TOPICS_TIMEOUT_MS 3000
#define STOP_FLUSH_MS     3000
/* Requested events are flushed at once. If the broker takes longer than this, the relay goes on with other work. */
#define FLUSH_MS 20

/* The least time between two reads of the outbox, after a read that has found few events. The first event after a pause
 * goes out at once, but a caller that makes one call after the other would otherwise cost a read, a request to Kafka
 * and a transaction of issue for each call. */
#define PACE_US    (5 * US_PER_MS)
#define FEW_EVENTS 16

/* How many messages of a lane are in flight after a failure, at most. */
#define PROBE_MAX 100

/* How many batches of a caller that continues without a pause are relayed together. This saves requests to Kafka,
 * and issue gets more tickets of a coupon at once. */
#define GATHERED_BATCHES 4

struct relay {
    enum stream stream;
    const char *name;
    const struct kafka_options *kafka;
    struct kafka_admin *admin;
    struct coupon_topics *coupon_topics; /* NULL: coupons have no own topics */
    int n_lanes, batch_max, in_flight_max;
    int64_t poll_us;
    struct pg *pg;
    uint64_t pg_generation;
    struct kafka_producer *producer;
    bool topics_exist, rewind;
    struct relay_failures failures;
    struct lane *lanes;
    int64_t in_flight;
    int64_t now_us;   /* when this round began; monotonic */
    int64_t acked_us; /* when Kafka last acknowledged a message; monotonic */
    bool behind;      /* more rows are waiting than the last read took */
    bool due;         /* there may be rows to read */
    bool has_few;     /* the last read has found events, but few */
    struct topic_target target;
    struct lane_move move;
    struct relay_spans *spans; /* NULL: tracing is off */
    int64_t lanes_tried_us, read_us, cursors_us, move_us;
    struct arena arena;
    struct batch_metrics metrics;
    char stage[16]; /* also the thread's name, which is limited to 15 characters */
    struct outage outage, move_outage;
    struct metric *lag_rows, *lag_seconds, *lanes_owned, *sent_total, *rewinds;
    int wake_fd;
    atomic_bool woken, check_topics, stopping;
    atomic_int gathered; /* batches whose caller announced another one */
    pthread_t thread;
};

static void on_ack(void *arg, uintptr_t tag, const struct kafka_failure *failure) {
    struct relay *relay = arg;
    struct lane *lane = &relay->lanes[lane_number_of_tag(tag)];
    FAULT_POINT(relay->stage, "before_ack");
    relay->in_flight--;
    relay_spans_acked(relay->spans, tag, failure);
    if (failure)
        kafka_errors_note(&relay->failures.kafka_errors, failure);
    if (!lane_expects(lane, tag))
        return;
    if (failure) {
        if (!relay->rewind)
            relay->failures.last = *failure;
        relay->rewind = true;
        lane_failed(lane, tag);
        return;
    }
    relay->failures.pause = (struct relay_pause){0};
    relay->acked_us = relay->now_us;
    lane_acknowledged(lane, tag, relay->now_us);
    FAULT_POINT(relay->stage, "after_ack");
}

static void on_error(void *arg, const struct kafka_failure *failure) {
    struct relay *relay = arg;
    kafka_errors_note(&relay->failures.kafka_errors, failure);
}

static void lose_lanes(struct relay *relay) {
    for (int i = 0; i < relay->n_lanes; i++)
        if (relay->lanes[i].own)
            lane_reset(&relay->lanes[i], false, 0);
    lane_move_stop(&relay->move);
    metric_set(relay->lanes_owned, 0);
}

/* --- connections --- */

/* Creates the topics that are missing. If a topic of the same name was deleted before, the offsets that issue has
 * stored do not hold for the new one, so they are reset. */
static bool make_topics(struct relay *relay, const struct kafka_new_topics *topics, struct err *err) {
    bool ok = kafka_topic_create(relay->admin, topics, TOPICS_TIMEOUT_MS, err);
    for (size_t i = 0; i < topics->n && relay->stream == STREAM_REQUESTED; i++)
        if (topics->made[i] == KAFKA_CREATED && !topics_restart(relay->pg, topics->name[i], err))
            return false;
    return ok;
}

/* Makes sure that every version of the shared topic exists. */
static bool ensure_topics(struct relay *relay, struct err *err) {
    struct topic_version versions[TOPIC_VERSIONS_MAX];
    size_t n;
    if (!topics_versions(relay->pg, versions, &n, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        char name[KAFKA_TOPIC_MAX];
        const char *const names[] = {name};
        kafka_topic_name(relay->kafka, relay->stream, versions[i].version, 0, name);
        enum kafka_made made;
        const struct kafka_new_topics topics = {1, names, versions[i].partitions, &made};
        if (!make_topics(relay, &topics, err))
            return false;
    }
    relay->topics_exist = true;
    return true;
}

/* Goes back to the cursors, for a new producer. The lanes whose messages have failed pause, or the relay as a whole if
 * the producer has failed without a message. */
static void rewind_lanes(struct relay *relay) {
    bool is_mended = relay_failures_learn(&relay->failures), has_paused = false;
    for (int i = 0; i < relay->n_lanes; i++) {
        struct lane *lane = &relay->lanes[i];
        if (!lane->own)
            continue;
        if (lane->has_failed && !is_mended) {
            relay_pause_begin(&lane->pause);
            has_paused = true;
        }
        lane_rewind(lane);
    }
    if (!has_paused && !is_mended)
        relay_pause_begin(&relay->failures.pause);
}

static bool ensure_producer(struct relay *relay, struct err *err) {
    if (relay->producer && (relay->rewind || kafka_producer_is_fatal(relay->producer, &relay->failures.last))) {
        log_warn("relay.rewound", LOG_STR("stream", relay->name), LOG_STR("reason", "a message could not be delivered"),
                 LOG_STR("kind", relay->failures.last.name), LOG_ERR(&relay->failures.last.err));
        metric_add(relay->rewinds, 1);
        kafka_producer_free(relay->producer);
        relay->producer = NULL;
        relay->in_flight = 0;
        relay_spans_give_up(relay->spans);
        rewind_lanes(relay);
        relay->topics_exist = false; /* check the topics before the next attempt */
    }
    relay->rewind = false;
    if (atomic_exchange(&relay->check_topics, false))
        relay->topics_exist = false;
    if (!relay->producer && !relay_pause_is_over(&relay->failures.pause)) {
        *err = relay->failures.last.err;
        return false;
    }
    if (!relay->topics_exist && !ensure_topics(relay, err))
        return false;
    const struct kafka_acks acks = {
        .on_ack = on_ack,
        .on_error = on_error,
        .arg = relay,
        .wake_fd = relay->wake_fd,
        .batch_bytes = relay->failures.batch_bytes,
        .own_clock = relay->failures.own_clock,
    };
    return relay->producer || kafka_producer_new(relay->kafka, relay->stream, &acks, &relay->producer, err);
}

static bool take_lanes(struct relay *relay, struct err *err) {
    size_t n = 0, n_lanes = (size_t)relay->n_lanes;
    int32_t *wanted = ARENA_ARRAY(&relay->arena, int32_t, n_lanes);
    int owned = 0;
    for (int i = 0; i < relay->n_lanes; i++)
        if (!relay->lanes[i].own)
            wanted[n++] = i;
    const struct outbox_lanes taken = {
        .n = n,
        .lane = wanted,
        .own = ARENA_ARRAY(&relay->arena, bool, n_lanes),
        .cursor = ARENA_ARRAY(&relay->arena, int64_t, n_lanes),
        .version = ARENA_ARRAY(&relay->arena, int, n_lanes),
    };
    if (n && !outbox_take_lanes(relay->pg, relay->stream, &taken, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (taken.own[i]) {
            FAULT_POINT(relay->stage, "lanes_taken");
            lane_reset(&relay->lanes[wanted[i]], true, taken.cursor[i]);
            relay->lanes[wanted[i]].version = taken.version[i];
        }
    for (int i = 0; i < relay->n_lanes; i++)
        owned += relay->lanes[i].own;
    metric_set(relay->lanes_owned, owned);
    return true;
}

static void measure_lag(struct relay *relay) {
    struct outbox_lag lag;
    int64_t oldest_us = INT64_MAX;
    if (!outbox_lag(relay->pg, &relay->arena, relay->stream, relay->n_lanes, &lag, NULL))
        return;
    metric_set(relay->lag_rows, (double)lag.events);
    for (int i = 0; i < relay->n_lanes; i++) {
        const struct lane *lane = &relay->lanes[i];
        if (lane->own && lane->sent > lane->cursor && lane->oldest_us && lane->oldest_us < oldest_us)
            oldest_us = lane->oldest_us;
    }
    metric_set(relay->lag_seconds, oldest_us < lag.now_us ? (double)(lag.now_us - oldest_us) / US_PER_S : 0);
}

/* Connects if necessary, and takes the lanes that no other process owns. */
static bool ensure_lanes(struct relay *relay, struct err *err) {
    if (!pg_is_connected(relay->pg) || pg_generation(relay->pg) != relay->pg_generation) {
        lose_lanes(relay);
        if (!pg_connect(relay->pg, err))
            return false;
        relay->pg_generation = pg_generation(relay->pg);
        relay->lanes_tried_us = 0;
    }
    int64_t now_us = clock_mono_us();
    if (relay->lanes_tried_us && now_us - relay->lanes_tried_us < LANES_EVERY_US)
        return true;
    relay->lanes_tried_us = now_us;
    if (!take_lanes(relay, err) || !topics_target(relay->pg, &relay->target, err))
        return false;
    measure_lag(relay);
    return pg_is_connected(relay->pg);
}

/* Moves lanes to the target version of the topic, one lane at a time. */
static bool move_lane(struct relay *relay, struct err *err) {
    int next = relay->target.next_lane[relay->stream];
    struct lane *lane = next >= 0 && next < relay->n_lanes ? &relay->lanes[next] : NULL;
    if (!lane || relay->target.paused || !lane->own || lane->version == relay->target.version) {
        lane_move_stop(&relay->move);
        return true;
    }
    int64_t now_us = clock_mono_us();
    if (now_us - relay->move_us < MOVE_EVERY_US)
        return true;
    relay->move_us = now_us;
    lane_move_start(&relay->move, relay->kafka, relay->stream, next, lane->version, relay->target.version);
    bool passed = false;
    if (lane->sent > lane->cursor)
        return true; /* Kafka has not acknowledged all of the lane's events */
    if (!lane_move_passed(&relay->move, relay->pg, relay->admin, relay->stream, &passed, err)) {
        if (err->backend != BACKEND_KAFKA)
            return false;
        /* A partition of the old topic has no leader, for example. Other lanes go on. */
        stage_interrupted(&relay->move_outage, "migration", err);
        relay->move_us = now_us + MOVE_RETRY_US;
        return true;
    }
    stage_resumed(&relay->move_outage, "migration");
    if (!passed)
        return topics_target(relay->pg, &relay->target, err); /* the migration may have been paused */
    if (!topics_lane_moved(relay->pg, relay->stream, next, relay->target.version, err))
        return false;
    log_info("relay.lane_moved", LOG_STR("stream", relay->name), LOG_INT("lane", next),
             LOG_INT("from_version", lane->version), LOG_INT("to_version", relay->target.version));
    lane->version = relay->target.version;
    lane_move_stop(&relay->move);
    relay->behind = true;
    return topics_target(relay->pg, &relay->target, err);
}

/* --- the work --- */

/* Returns the version of the topic that the entry goes to; 0: the coupon's own topic; -1: its own topic is awaited. */
static int version_for(const struct relay *relay, const struct lane *lane, const struct outbox_entry *entry) {
    if (!relay->coupon_topics)
        return lane->version;
    if (kafka_producer_has_topic(relay->producer, entry->coupon_id))
        return 0;
    return coupon_topics_is_refused(relay->coupon_topics, entry->coupon_id) ? lane->version : -1;
}

/* Returns how many entries were sent: fewer than n if the window or the producer's queue is full, or a topic is
 * awaited. */
static size_t send_entries(struct relay *relay, struct outbox_entry *entries, size_t n) {
    size_t sent = 0;
    for (size_t i = 0; i < n; i++) {
        struct lane *lane = &relay->lanes[entries[i].lane];
        struct err err;
        FAULT_POINT(relay->stage, "before_produce");
        if (entries[i].id != lane->sent + 1 /* behind an entry that was not sent */ || !lane_has_room(lane))
            continue;
        int version = version_for(relay, lane, &entries[i]);
        uintptr_t tag = lane_tag(entries[i].lane, lane, entries[i].id);
        lane->awaits_topic = version < 0;
        relay_spans_begin(relay->spans, &entries[i], version);
        if (version < 0 || !kafka_produce(relay->producer, &entries[i], version, tag, &err))
            continue;
        relay_spans_sent(relay->spans, tag);
        lane_sent(lane, entries[i].append_us, relay->now_us);
        sent++;
        FAULT_POINT(relay->stage, "after_produce");
    }
    relay->in_flight += (int64_t)sent;
    metric_add(relay->sent_total, (int64_t)sent);
    return sent;
}

/* Reads the rows behind `sent` in all owned lanes, except those that move, pause, stand or await a topic, and sends
 * them. */
static bool read_and_send(struct relay *relay, struct err *err) {
    int32_t *lanes = ARENA_ARRAY(&relay->arena, int32_t, (size_t)relay->n_lanes);
    int64_t *after = ARENA_ARRAY(&relay->arena, int64_t, (size_t)relay->n_lanes);
    size_t n = 0;
    relay->behind = false;
    for (int i = 0; i < relay->n_lanes; i++) {
        const struct lane *lane = &relay->lanes[i];
        if (!lane->own || i == relay->move.lane || lane->awaits_topic || lane_is_stalled(lane, relay->now_us) ||
            !lane_has_room(lane) || !relay_pause_is_over(&lane->pause))
            continue;
        lanes[n] = i;
        after[n++] = lane->sent;
    }
    if (n == 0)
        return true;
    struct outbox_page page = {.n_lanes = n, .lane = lanes, .after = after, .max_rows = relay->batch_max};
    int64_t start_us = clock_mono_us();
    if (!outbox_read(relay->pg, &relay->arena, relay->stream, &page, err))
        return false;
    if (relay->coupon_topics)
        coupon_topics_want(relay->coupon_topics, &relay->arena, relay->producer, page.entries, page.n);
    size_t sent = send_entries(relay, page.entries, page.n);
    outbox_page_clear(&page);
    relay->behind = page.more || sent < page.n;
    relay->has_few = page.n > 0 && page.n <= FEW_EVENTS;
    if (page.n)
        batch_metrics_observe(&relay->metrics, page.n, clock_mono_us() - start_us);
    return true;
}

static bool store_cursors(struct relay *relay, struct err *err) {
    int32_t *lanes = ARENA_ARRAY(&relay->arena, int32_t, (size_t)relay->n_lanes);
    int64_t *ids = ARENA_ARRAY(&relay->arena, int64_t, (size_t)relay->n_lanes);
    size_t n = 0;
    for (int i = 0; i < relay->n_lanes; i++) {
        struct lane *lane = &relay->lanes[i];
        if (lane->own && lane->cursor > lane->cursor_stored) {
            lanes[n] = i;
            ids[n++] = lane->cursor;
        }
    }
    if (n == 0)
        return true;
    FAULT_POINT(relay->stage, "before_cursor_commit");
    const struct outbox_cursors cursors = {.n = n, .lane = lanes, .last_id = ids};
    if (!outbox_move_cursors(relay->pg, &relay->arena, relay->stream, &cursors, err))
        return false;
    FAULT_POINT(relay->stage, "after_cursor_commit");
    for (size_t i = 0; i < n; i++)
        relay->lanes[lanes[i]].cursor_stored = ids[i];
    return true;
}

static void wait_for_work(struct relay *relay, int64_t us) {
    struct pollfd fd = {.fd = relay->wake_fd, .events = POLLIN};
    uint64_t count;
    us = us < 0 ? 0 : us < LANES_EVERY_US ? us : LANES_EVERY_US;
    const struct timespec wait = {.tv_sec = us / US_PER_S, .tv_nsec = us % US_PER_S * 1000};
    if (ppoll(&fd, 1, &wait, NULL) > 0 && read(relay->wake_fd, &count, sizeof count) < 0)
        return; /* the event was already read: nothing to do */
}

/* Messages of stalled lanes must not fill the producer's queue: they are taken back. */
static void give_up_stalled(struct relay *relay, bool is_full) {
    if (!lanes_give_up(relay->lanes, relay->n_lanes, relay->now_us, relay->acked_us, is_full) || relay->rewind)
        return;
    relay->rewind = true;
    relay->failures.last = (struct kafka_failure){.name = "NO_ACKNOWLEDGEMENT"};
    err_set(&relay->failures.last.err, ERR_UNAVAILABLE, BACKEND_KAFKA, "a partition acknowledges nothing");
}

/* Does one round of work. *ret_wait_us: how long the thread may wait for a wake-up. */
static bool round_of_work(struct relay *relay, int64_t *ret_wait_us, struct err *err) {
    if (!ensure_lanes(relay, err) || !ensure_producer(relay, err))
        return false;
    int64_t now_us = relay->now_us = clock_mono_us();
    kafka_producer_poll(relay->producer);
    bool has_answer = false;
    if (!move_lane(relay, err) || (relay->coupon_topics && !coupon_topics_take(relay->coupon_topics, relay->pg,
                                                                               relay->producer, &has_answer, err)))
        return false;
    /* If only an acknowledgement woke us, there are no new rows to read. */
    bool late = now_us - relay->read_us >= relay->poll_us;
    relay->due = atomic_exchange(&relay->woken, false) || relay->due || relay->behind || late || has_answer;
    int64_t moving = lanes_moving(relay->lanes, relay->n_lanes, now_us);
    bool room = moving <= relay->in_flight_max / 2 && relay->in_flight <= relay->in_flight_max * 3 / 4;
    bool all_move = relay->in_flight == moving; /* otherwise a flush would wait for nothing */
    bool is_full = !room && moving == 0;
    if (is_full || relay->in_flight - moving > relay->in_flight_max / 4)
        give_up_stalled(relay, is_full);
    /* While events are in flight, new ones gather, so that the number of requests to Kafka falls as the load rises.
     * librdkafka also would spin while it holds messages that wait for a request in flight to the same partition. */
    bool gathers = moving > 0 && !relay->behind;
    int64_t pace_us = relay->has_few && !relay->behind ? relay->read_us + PACE_US - now_us : 0;
    bool is_paced = relay->due && room && !gathers && pace_us > 0;
    if (relay->due && room && !gathers && !is_paced) {
        relay->read_us = now_us;
        relay->due = false;
        if (!read_and_send(relay, err))
            return false;
        if (relay->stream == STREAM_REQUESTED && relay->in_flight > 0 && all_move && !relay->behind)
            kafka_producer_flush(relay->producer, FLUSH_MS);
        kafka_producer_poll(relay->producer);
    }
    if (now_us - relay->cursors_us >= relay->poll_us) {
        relay->cursors_us = now_us;
        if (!store_cursors(relay, err))
            return false;
    }
    *ret_wait_us = is_paced ? pace_us : !room || gathers || !relay->behind ? relay->poll_us : 0;
    return true;
}

static void *work(void *arg) {
    struct relay *relay = arg;
    struct heart *heart = heart_new(relay->stage);
    while (!atomic_load(&relay->stopping)) {
        heart_work(heart); /* each wait is short */
        int64_t wait_us = 0;
        struct err err;
        bool ok = round_of_work(relay, &wait_us, &err);
        arena_reset(&relay->arena);
        if (!ok) {
            stage_interrupted(&relay->outage, relay->stage, &err);
            wait_for_work(relay, RETRY_US);
            continue;
        }
        if (relay->failures.pause.next_us == 0 && !lanes_have_failed(relay->lanes, relay->n_lanes))
            stage_resumed(&relay->outage, relay->stage);
        if (wait_us > 0)
            wait_for_work(relay, wait_us);
    }
    heart_free(heart);
    struct err err;
    if (relay->producer && kafka_producer_flush(relay->producer, STOP_FLUSH_MS) && pg_is_connected(relay->pg) &&
        !store_cursors(relay, &err))
        log_warn("relay.cursor_not_stored", LOG_STR("stream", relay->name), LOG_ERR(&err));
    return NULL;
}

static void register_metrics(struct relay *relay) {
    char labels[64];
    snprintf(labels, sizeof labels, "stream=\"%s\"", relay->name);
    snprintf(relay->stage, sizeof relay->stage, "relay_%s", relay->name);
    relay->metrics = batch_metrics(relay->stage);
    relay_failures_init(&relay->failures, relay->stage);
    relay->lag_rows =
        metrics_gauge("couponsd_relay_lag_rows", "Outbox events that Kafka has not acknowledged.", labels);
    relay->lag_seconds =
        metrics_gauge("couponsd_relay_lag_seconds",
                      "Age of the oldest event that this relay sent and Kafka has not acknowledged.", labels);
    relay->lanes_owned = metrics_gauge("couponsd_relay_lanes", "Lanes that this process relays.", labels);
    relay->sent_total = metrics_counter("couponsd_relay_sent_total", "Messages handed to the producer.", labels);
    relay->rewinds =
        metrics_counter("couponsd_relay_rewinds_total", "Times that a relay went back to its cursors.", labels);
}

static void relay_free(struct relay *relay) {
    coupon_topics_stop(relay->coupon_topics);
    relay_spans_free(relay->spans);
    kafka_producer_free(relay->producer);
    pg_free(relay->pg);
    for (int i = 0; i < relay->n_lanes; i++)
        lane_deinit(&relay->lanes[i]);
    free(relay->lanes);
    lane_move_deinit(&relay->move);
    if (relay->wake_fd >= 0)
        close(relay->wake_fd);
    arena_deinit(&relay->arena);
    free(relay);
}

bool relay_start(struct context *context, enum stream stream, struct relay **ret_relay, struct err *err) {
    const struct config *config = context->config;
    struct relay *relay = memory_new(1, sizeof *relay);
    struct pg_options owner = context->hot;
    owner.idle_timeout_ms = IDLE_MS;
    *relay = (struct relay){
        .stream = stream,
        .name = stream == STREAM_REQUESTED ? "requested" : "published",
        .kafka = &context->kafka,
        .admin = context->kafka_admin,
        .target = {.next_lane = {-1, -1}},
        .n_lanes = (int)config->flow_lanes,
        .batch_max = (int)config->relay_batch_max,
        .in_flight_max = (int)config->relay_in_flight_max,
        .poll_us = config->relay_poll_ms * US_PER_MS,
        .spans = relay_spans_new(context, stream),
        .pg = pg_new(&owner),
        .lanes = memory_new((size_t)config->flow_lanes, sizeof *relay->lanes),
        .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
    };
    int64_t probe = relay->in_flight_max / (4 * relay->n_lanes);
    probe = probe < 1 ? 1 : probe > PROBE_MAX ? PROBE_MAX : probe;
    for (int i = 0; i < relay->n_lanes; i++)
        lane_init(&relay->lanes[i], relay->in_flight_max, probe);
    lane_move_init(&relay->move);
    arena_init(&relay->arena, 256 * 1024);
    register_metrics(relay);
    bool ok = relay->wake_fd >= 0 ||
              err_set(err, ERR_INTERNAL, BACKEND_NONE, "the relay can't get an eventfd: %s", strerror(errno));
    const struct coupon_topics_options own_topics = {
        .kafka = relay->kafka,
        .admin = relay->admin,
        .stream = stream,
        .stream_name = relay->name,
        .partitions = (int)config->kafka_coupon_partitions,
        .lanes = relay->lanes,
        .n_lanes = relay->n_lanes,
        .wake_fd = relay->wake_fd,
    };
    if (ok && config->kafka_topic_strategy == TOPIC_STRATEGY_PER_COUPON)
        ok = coupon_topics_start(&own_topics, &relay->coupon_topics, err);
    if (!ok || !thread_start(relay->stage, work, relay, &relay->thread, err)) {
        relay_free(relay);
        return false;
    }
    *ret_relay = relay;
    return true;
}

void relay_wake(struct relay *relay, bool more_follow) {
    static const uint64_t one = 1;
    if (!relay || (more_follow && atomic_fetch_add(&relay->gathered, 1) + 1 < GATHERED_BATCHES))
        return;
    atomic_store(&relay->gathered, 0);
    if (!atomic_exchange(&relay->woken, true) && write(relay->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full: the relay is awake */
}

void relay_check_topics(struct relay *relay) {
    if (relay)
        atomic_store(&relay->check_topics, true);
    relay_wake(relay, false);
}

void relay_stop(struct relay *relay) {
    if (!relay)
        return;
    atomic_store(&relay->stopping, true);
    static const uint64_t one = 1;
    if (write(relay->wake_fd, &one, sizeof one) < 0)
        log_debug("relay.wake_full", LOG_STR("stream", relay->name));
    pthread_join(relay->thread, NULL);
    relay_free(relay);
}

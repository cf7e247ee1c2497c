/* SPDX-License-Identifier: Apache-2.0 */
/* The consumer of issue and complete: eager range assignment, no automatic commits. It polls messages one by one, since
 * librdkafka's batch consumption loses messages around seek, pause and rebalance.
 *
 * A place's holes: every start (an assignment with an offset, or a seek) begins a new reading. Within one reading the
 * consumer counts on librdkafka to skip no message. The first jump of a reading is only a suspicion, which the next
 * reading proves or refutes; see kafka_consume.
 *
 * kafka_commit only records a place's progress. kafka_consume sends the offsets that Kafka has not confirmed yet, in
 * one request at a time and at most ten requests per second. So a lost commit is repeated, and a busy consumer does not
 * send a commit per partition and batch. A commit goes back only with the reading: after a seek, or if the log has gone
 * back (a topic that was deleted and created again, an unclean election). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/memory.h"
#include "store/kafka_internal.h"

#define QUERY_TIMEOUT_MS 2000
#define LOOK_TIMEOUT_MS  20
/* A commit costs the broker a write, and after the assignment only tools that show the lag read it. */
#define COMMIT_EVERY_US  (100 * US_PER_MS)
#define COMMIT_RETRY_US  (250 * US_PER_MS)
#define CLOSE_TIMEOUT_US (3 * US_PER_S)
#define CLOSE_POLL_MS    10
/* The size of values in one batch at which kafka_consume stops. couponsd's values are small, but other programs may put
 * values of 1 MiB into the topic. */
#define CONSUME_BYTES_MAX (16 * 1024 * 1024)

struct hole {
    int64_t from, to; /* offsets without a message: `from` up to `to` - 1 */
};

struct progress {
    struct kafka_place place;
    int64_t done, committed; /* next offsets: recorded, and confirmed by Kafka; -1: none */
    /* The current reading. */
    int64_t next;        /* the offset after its last message, or its start; -1: unknown */
    bool has_begun;      /* a message has arrived */
    unsigned reading;    /* its number */
    struct hole suspect; /* a jump at the start of a reading, and the reading that first found it */
    unsigned suspected_in;
    struct kafka_end_hole end;
};

struct kafka_consumer {
    struct kafka_options options; /* first: kafka_internal.h */
    struct kafka_consumer_events events;
    rd_kafka_t *rk;
    struct kafka_secrets secrets;
    const char *step; /* "issue" or "complete", for fault points */
    char pattern[2 * KAFKA_TOPIC_MAX];
    bool paused, was_assigned;
    unsigned rejoins; /* the latest request of events.group that it has followed */
    /* The topics' names that places point to. */
    char **topics;
    size_t n_topics;
    const rd_kafka_topic_t *last_handle; /* the handle of last_topic */
    const char *last_topic;
    /* The assigned places, ascending. */
    struct progress *progress;
    size_t n_progress;
    struct progress *last_progress; /* of the message before; NULL: none */
    bool commit_due, commit_in_flight;
    int64_t next_commit_us;
};

static const char *intern(struct kafka_consumer *consumer, const char *name) {
    for (size_t i = 0; i < consumer->n_topics; i++)
        if (strcmp(consumer->topics[i], name) == 0)
            return consumer->topics[i];
    consumer->topics = memory_resize(consumer->topics, consumer->n_topics + 1, sizeof *consumer->topics);
    char *copy = memory_copy(name);
    consumer->topics[consumer->n_topics++] = copy;
    return copy;
}

static const char *topic_of(struct kafka_consumer *consumer, const rd_kafka_message_t *message) {
    if (message->rkt != consumer->last_handle) {
        consumer->last_handle = message->rkt;
        consumer->last_topic = intern(consumer, rd_kafka_topic_name(message->rkt));
    }
    return consumer->last_topic;
}

/* --- assignment --- */

static int by_place(const void *a, const void *b) {
    const struct progress *x = a, *y = b;
    return kafka_place_compare(&x->place, &y->place);
}

static struct progress *progress_of(struct kafka_consumer *consumer, const struct kafka_place *place) {
    struct progress key = {.place = *place};
    return consumer->n_progress ? bsearch(&key, consumer->progress, consumer->n_progress, sizeof key, by_place) : NULL;
}

static void set_assigned(struct kafka_consumer *consumer, const rd_kafka_topic_partition_list_t *list) {
    free(consumer->progress);
    consumer->n_progress = list ? (size_t)list->cnt : 0;
    consumer->progress = memory_new(consumer->n_progress + 1, sizeof *consumer->progress);
    for (size_t i = 0; i < consumer->n_progress; i++)
        consumer->progress[i] = (struct progress){
            .place = {intern(consumer, list->elems[i].topic), list->elems[i].partition},
            .done = -1,
            .committed = -1,
            .next = -1,
            .suspect = {-1, -1},
        };
    consumer->last_progress = NULL;
    qsort(consumer->progress, consumer->n_progress, sizeof *consumer->progress, by_place);
    consumer->commit_due = consumer->commit_in_flight = false;
}

/* The reading is now at this offset. What was recorded above it no longer holds. */
static void go_to(struct kafka_consumer *consumer, struct progress *progress, int64_t offset) {
    progress->next = offset;
    if (offset < progress->done) {
        progress->done = offset;
        consumer->commit_due = true;
    }
}

static void begin_reading(struct kafka_consumer *consumer, const struct kafka_place *place, int64_t start) {
    struct progress *progress = progress_of(consumer, place);
    if (!progress)
        return;
    go_to(consumer, progress, start);
    progress->has_begun = false;
    progress->reading++;
    progress->end = (struct kafka_end_hole){start, start, false};
}

static rd_kafka_topic_partition_list_t *list_of(const struct kafka_place *places, size_t n) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, places[i].topic, places[i].partition);
    return list;
}

static void start_from(struct kafka_consumer *consumer, rd_kafka_topic_partition_list_t *list) {
    size_t n = (size_t)list->cnt;
    if (!consumer->events.on_assign)
        return;
    struct kafka_place *places = memory_new(n, sizeof *places);
    int64_t *start = memory_new(n, sizeof *start);
    for (size_t i = 0; i < n; i++)
        places[i] = (struct kafka_place){intern(consumer, list->elems[i].topic), list->elems[i].partition};
    if (consumer->events.on_assign(consumer->events.arg, places, start, n))
        for (size_t i = 0; i < n; i++) {
            list->elems[i].offset = start[i];
            begin_reading(consumer, &places[i], start[i]);
        }
    free(places);
    free(start);
}

static void send_commits(struct kafka_consumer *consumer);

static void rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list, void *opaque) {
    struct kafka_consumer *consumer = opaque;
    if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        consumer->was_assigned = true;
        if (consumer->events.group)
            atomic_fetch_add(&consumer->events.group->assignments, 1);
        set_assigned(consumer, list);
        start_from(consumer, list);
        rd_kafka_assign(rk, list);
        if (consumer->paused)
            rd_kafka_pause_partitions(rk, list);
    } else {
        if (consumer->events.on_revoke)
            consumer->events.on_revoke(consumer->events.arg);
        consumer->commit_in_flight = false;
        consumer->commit_due = true;
        consumer->next_commit_us = 0;
        send_commits(consumer);
        set_assigned(consumer, NULL);
        rd_kafka_assign(rk, NULL);
    }
}

/* --- commits --- */

static void committed(rd_kafka_t *rk, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list, void *opaque) {
    struct kafka_consumer *consumer = opaque;
    (void)rk;
    bool failed = error && error != RD_KAFKA_RESP_ERR__NO_OFFSET;
    consumer->commit_in_flight = false;
    for (int i = 0; list && i < list->cnt; i++) {
        struct kafka_place place = {list->elems[i].topic, list->elems[i].partition};
        struct progress *progress = progress_of(consumer, &place);
        if (error || list->elems[i].err)
            failed = true;
        else if (progress)
            progress->committed = list->elems[i].offset;
    }
    if (failed) {
        consumer->commit_due = true;
        consumer->next_commit_us = clock_mono_us() + COMMIT_RETRY_US;
    } else {
        FAULT_POINT(consumer->step, "offset_commit_confirmed");
    }
}

static void send_commits(struct kafka_consumer *consumer) {
    if (!consumer->commit_due || consumer->commit_in_flight || clock_mono_us() < consumer->next_commit_us)
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (size_t i = 0; i < consumer->n_progress; i++) {
        const struct progress *progress = &consumer->progress[i];
        if (progress->done >= 0 && progress->done != progress->committed)
            rd_kafka_topic_partition_list_add(list, progress->place.topic, progress->place.partition)->offset =
                progress->done;
    }
    consumer->commit_due = false;
    if (list->cnt) {
        FAULT_POINT(consumer->step, "before_offset_commit");
        consumer->commit_in_flight = !rd_kafka_commit(consumer->rk, list, 1);
        FAULT_POINT(consumer->step, "after_offset_commit");
        consumer->commit_due = !consumer->commit_in_flight;
        consumer->next_commit_us = clock_mono_us() + (consumer->commit_in_flight ? COMMIT_EVERY_US : COMMIT_RETRY_US);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

void kafka_commit(struct kafka_consumer *consumer, const struct kafka_place *place, int64_t next_offset) {
    struct progress *progress = progress_of(consumer, place);
    if (!progress || (progress->next >= 0 && next_offset > progress->next))
        return; /* no longer assigned, or the reading has gone back since */
    if (progress->end.is_proven && next_offset == progress->end.from)
        next_offset = progress->end.to;
    if (next_offset <= progress->done)
        return; /* already recorded */
    progress->done = next_offset;
    consumer->commit_due = true;
}

/* --- set-up --- */

static bool configure(struct kafka_consumer *consumer, enum stream stream, const char *other_group,
                      rd_kafka_conf_t *conf, struct err *err) {
    static const char *const settings[][2] = {
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"enable.partition.eof", "true"},
        {"auto.offset.reset", "earliest"},
        {"partition.assignment.strategy", "range"},
        /* Other members take over a killed member's partitions after this time. By default, brokers allow no less. */
        {"session.timeout.ms", "6000"},
        /* A member learns of a rebalance within this time. */
        {"heartbeat.interval.ms", "500"},
        {"max.poll.interval.ms", "300000"},
        {"fetch.error.backoff.ms", "50"},
        {"queued.max.messages.kbytes", "16384"},
        /* High, so that the size above is the limit. A consumer that reaches one of the two pauses its fetches, for a
         * second before librdkafka 2.2, even if it processes the messages sooner. */
        {"queued.min.messages", "100000"},
#if RD_KAFKA_VERSION >= 0x020200ff
        {"fetch.queue.backoff.ms", "10"},
#endif
    };
    /* Users wait for requested events. Nobody waits for published ones, so fewer and larger fetches are better. */
    if (!kafka_set(conf, "fetch.wait.max.ms", stream == STREAM_REQUESTED ? "100" : "50", err) ||
        !kafka_set(conf, "fetch.min.bytes", stream == STREAM_REQUESTED ? "1" : "262144", err))
        return false;
    char group[KAFKA_TOPIC_MAX];
    kafka_group_name(&consumer->options, stream, group);
    if (other_group)
        snprintf(group, sizeof group, "%s%s", consumer->options.topic_prefix, other_group);
    rd_kafka_conf_set_opaque(conf, consumer);
    rd_kafka_conf_set_rebalance_cb(conf, rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, committed);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (!kafka_set(conf, settings[i][0], settings[i][1], err))
            return false;
    return kafka_reader_conf(&consumer->options, conf, err) && kafka_set(conf, "group.id", group, err) &&
           kafka_check_limits(conf, err) && kafka_check_heartbeat(conf, err);
}

static bool subscribe(struct kafka_consumer *consumer, struct err *err) {
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, consumer->pattern, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(consumer->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (error)
        return err_set(err, ERR_INTERNAL, BACKEND_KAFKA, "subscribing to %s: %s", consumer->pattern,
                       rd_kafka_err2str(error));
    return true;
}

static void release(struct kafka_consumer *consumer) {
    kafka_secrets_deinit(&consumer->secrets);
    if (consumer->rk && !kafka_destroy(consumer->rk))
        return;
    for (size_t i = 0; i < consumer->n_topics; i++)
        free(consumer->topics[i]);
    free(consumer->topics);
    free(consumer->progress);
    free(consumer);
}

/* Makes a consumer that has not subscribed to its topics yet. */
static struct kafka_consumer *unsubscribed(const struct kafka_options *options, enum stream stream, const char *group,
                                           const struct kafka_consumer_events *events, struct err *err) {
    struct kafka_consumer *consumer = memory_new(1, sizeof *consumer);
    consumer->options = *options;
    consumer->events = *events;
    consumer->step = stream == STREAM_REQUESTED ? "issue" : "complete";
    kafka_topic_pattern(options, stream, consumer->pattern);
    kafka_secrets_init(&consumer->secrets, options);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (configure(consumer, stream, group, conf, err))
        consumer->rk = kafka_handle(RD_KAFKA_CONSUMER, conf, err);
    if (consumer->rk)
        return consumer;
    rd_kafka_conf_destroy(conf);
    release(consumer);
    return NULL;
}

bool kafka_consumer_check(const struct kafka_options *options, enum stream stream, struct err *err) {
    const struct kafka_consumer_events events = {0};
    struct kafka_consumer *consumer = unsubscribed(options, stream, NULL, &events, err);
    if (!consumer)
        return false;
    release(consumer);
    return true;
}

bool kafka_consumer_new(const struct kafka_options *options, enum stream stream, const char *group,
                        const struct kafka_consumer_events *events, struct kafka_consumer **ret_consumer,
                        struct err *err) {
    struct kafka_consumer *consumer = unsubscribed(options, stream, group, events, err);
    if (!consumer)
        return false;
    rd_kafka_poll_set_consumer(consumer->rk);
    if (!subscribe(consumer, err)) {
        release(consumer);
        return false;
    }
    *ret_consumer = consumer;
    return true;
}

/* Leaves the group within CLOSE_TIMEOUT_US. rd_kafka_consumer_close may hang if a topic was deleted a moment ago
 * (librdkafka 2.0.2). */
static void close_gracefully(struct kafka_consumer *consumer) {
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(consumer->rk, queue);
    int64_t give_up_us = clock_mono_us() + CLOSE_TIMEOUT_US;
    while (!error && !rd_kafka_consumer_closed(consumer->rk) && clock_mono_us() < give_up_us) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CLOSE_POLL_MS);
        if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
            rebalance(consumer->rk, rd_kafka_event_error(event), rd_kafka_event_topic_partition_list(event), consumer);
        if (event) /* all other events are messages, which the next owner gets */
            rd_kafka_event_destroy(event);
    }
    rd_kafka_error_destroy(error);
    rd_kafka_queue_destroy(queue);
}

void kafka_consumer_free(struct kafka_consumer *consumer) {
    if (!consumer)
        return;
    close_gracefully(consumer);
    release(consumer);
}

/* --- holes --- */

/* Returns whether nothing lies between the reading's last message and this offset, where the next message is, or the
 * end. */
static bool is_next(struct progress *progress, int64_t offset) {
    if (progress->has_begun || offset <= progress->next)
        return true;
    bool is_suspect = progress->suspect.from == progress->next && progress->suspect.to == offset;
    if (!is_suspect) {
        progress->suspect = (struct hole){progress->next, offset};
        progress->suspected_in = progress->reading;
    }
    return progress->suspected_in != progress->reading;
}

static struct progress *progress_of_message(struct kafka_consumer *consumer, const struct kafka_place *place) {
    struct progress *last = consumer->last_progress;
    if (!last || last->place.partition != place->partition || last->place.topic != place->topic)
        consumer->last_progress = last = progress_of(consumer, place);
    return last;
}

/* Returns the size of the hole below this message. */
static int64_t note_message(struct kafka_consumer *consumer, const struct kafka_place *place, int64_t offset) {
    struct progress *progress = progress_of_message(consumer, place);
    int64_t hole = 0;
    if (!progress)
        return 0;
    if (progress->next >= 0 && offset > progress->next && is_next(progress, offset))
        hole = offset - progress->next;
    go_to(consumer, progress, offset); /* it may be lower than expected */
    progress->next = offset + 1;
    progress->has_begun = true;
    progress->end = (struct kafka_end_hole){offset + 1, offset + 1, false};
    return hole;
}

/* The reading has reached the partition's end. */
static void note_end(struct kafka_consumer *consumer, const rd_kafka_message_t *message) {
    const struct kafka_place place = {topic_of(consumer, message), message->partition};
    struct progress *progress = progress_of_message(consumer, &place);
    if (!progress)
        return;
    /* A start that only Kafka knows is what was committed there. */
    int64_t from = progress->next >= 0 ? progress->next : progress->done;
    if (message->offset < progress->next)
        go_to(consumer, progress, message->offset);
    if (message->offset <= from)
        return;
    progress->end =
        (struct kafka_end_hole){from, message->offset, progress->next < 0 || is_next(progress, message->offset)};
    kafka_commit(consumer, &progress->place, progress->done == from || progress->next < 0 ? from : -1);
}

struct kafka_end_hole kafka_end_hole(struct kafka_consumer *consumer, const struct kafka_place *place) {
    const struct progress *progress = progress_of(consumer, place);
    return progress ? progress->end : (struct kafka_end_hole){-1, -1, false};
}

void kafka_pass_end_hole(struct kafka_consumer *consumer, const struct kafka_place *place) {
    struct progress *progress = progress_of(consumer, place);
    if (!progress || !progress->end.is_proven)
        return;
    int64_t to = progress->end.to;
    progress->next = to;
    progress->end = (struct kafka_end_hole){to, to, false};
}

/* --- consuming --- */

static void report(struct kafka_consumer *consumer, const rd_kafka_message_t *message) {
    /* A pattern that matches no topic yet is no error. */
    if (!consumer->events.on_error || (message->rkt && *rd_kafka_topic_name(message->rkt) == '^'))
        return;
    const char *text = message->payload ? rd_kafka_message_errstr(message) : NULL;
    const struct kafka_failure failure =
        kafka_failure_of(message->err, message->rkt ? rd_kafka_topic_name(message->rkt) : NULL, text);
    consumer->events.on_error(consumer->events.arg, &failure);
}

/* If its group's watcher wants it, looks for topics if it has found none yet, or joins the group again. */
static void rejoin_if_wanted(struct kafka_consumer *consumer) {
    struct kafka_group *group = consumer->events.group;
    unsigned rejoins = group ? atomic_load(&group->rejoins) : 0;
    if (consumer->rejoins == rejoins)
        return;
    consumer->rejoins = rejoins;
    if (consumer->was_assigned) {
        subscribe(consumer, NULL); /* to the same topics: librdkafka joins again */
        return;
    }
    /* librdkafka uses the reply even if it comes after the time-out. */
    const struct rd_kafka_metadata *metadata;
    if (!rd_kafka_metadata(consumer->rk, 1, NULL, &metadata, LOOK_TIMEOUT_MS))
        rd_kafka_metadata_destroy(metadata);
}

size_t kafka_consume(struct kafka_consumer *consumer, int wait_ms, struct kafka_message *messages, size_t max) {
    size_t n = 0, bytes = 0;
    rejoin_if_wanted(consumer);
    send_commits(consumer);
    kafka_secrets_refresh(&consumer->secrets, &consumer->options, consumer->rk);
    while (n < max && bytes < CONSUME_BYTES_MAX) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->rk, n ? 0 : wait_ms);
        if (!message)
            break;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            note_end(consumer, message);
            rd_kafka_message_destroy(message);
            continue;
        }
        if (message->err) { /* a report, e.g. that it may not join the group; librdkafka retries by itself */
            report(consumer, message);
            rd_kafka_message_destroy(message);
            if (n == 0)
                break;
            continue;
        }
        const struct kafka_place place = {topic_of(consumer, message), message->partition};
        messages[n++] = (struct kafka_message){
            .place = place,
            .offset = message->offset,
            .hole = note_message(consumer, &place, message->offset),
            .key = message->key,
            .key_len = message->key_len,
            .value = message->payload,
            .value_len = message->len,
            .handle = message,
        };
        bytes += message->len;
    }
    /* librdkafka may free a handle with its last message and use the address again. */
    consumer->last_handle = NULL;
    return n;
}

void kafka_release(struct kafka_message *messages, size_t n) {
    for (size_t i = 0; i < n; i++)
        rd_kafka_message_destroy(messages[i].handle);
}

/* Reads one end of each place. A partition without a leader only delays the others until the time-out; its offset is
 * -1. */
static bool read_ends(struct kafka_consumer *consumer, const struct kafka_place *places, size_t n, int64_t which,
                      int64_t *ret_offsets, struct err *err) {
    rd_kafka_topic_partition_list_t *list = list_of(places, n);
    bool any = kafka_list_offsets(consumer->rk, list, which, QUERY_TIMEOUT_MS, err);
    for (size_t i = 0; i < n; i++) {
        ret_offsets[i] = rd_kafka_topic_partition_list_find(list, places[i].topic, places[i].partition)->offset;
        any = any || ret_offsets[i] >= 0;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return any;
}

bool kafka_ends(struct kafka_consumer *consumer, const struct kafka_place *places, size_t n, int64_t *ret_low,
                int64_t *ret_high, struct err *err) {
    return read_ends(consumer, places, n, RD_KAFKA_OFFSET_BEGINNING, ret_low, err) &&
           (!ret_high || read_ends(consumer, places, n, RD_KAFKA_OFFSET_END, ret_high, err));
}

void kafka_positions(struct kafka_consumer *consumer, const struct kafka_place *places, size_t n, int64_t *ret_next) {
    /* librdkafka's own position lies behind a hole at the end, whether it is proven or not. */
    for (size_t i = 0; i < n; i++) {
        const struct progress *progress = progress_of(consumer, &places[i]);
        ret_next[i] = progress ? progress->next : -1;
    }
}

void kafka_cached_ends(struct kafka_consumer *consumer, const struct kafka_place *places, size_t n, int64_t *ret_high) {
    for (size_t i = 0; i < n; i++) {
        int64_t low, high = -1;
        bool has_read =
            !rd_kafka_get_watermark_offsets(consumer->rk, places[i].topic, places[i].partition, &low, &high);
        ret_high[i] = has_read && high >= 0 ? high : -1;
    }
}

bool kafka_seek(struct kafka_consumer *consumer, const struct kafka_place *places, const int64_t *offsets, size_t n,
                struct err *err) {
    rd_kafka_topic_partition_list_t *list = list_of(places, n);
    for (size_t i = 0; i < n; i++)
        list->elems[i].offset = offsets[i];
    rd_kafka_error_t *error = rd_kafka_seek_partitions(consumer->rk, list, QUERY_TIMEOUT_MS);
    rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; i < list->cnt && !code; i++)
        code = list->elems[i].err;
    rd_kafka_error_destroy(error);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return err_set(err, ERR_UNAVAILABLE, BACKEND_KAFKA, "seeking: %s", rd_kafka_err2str(code));
    for (size_t i = 0; i < n; i++)
        begin_reading(consumer, &places[i], offsets[i]);
    return true;
}

void kafka_pause(struct kafka_consumer *consumer, bool pause) {
    if (consumer->paused == pause)
        return;
    consumer->paused = pause;
    rd_kafka_topic_partition_list_t *list = NULL;
    if (rd_kafka_assignment(consumer->rk, &list) || !list)
        return;
    if (pause)
        rd_kafka_pause_partitions(consumer->rk, list);
    else
        rd_kafka_resume_partitions(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}

int64_t kafka_consumer_lag(struct kafka_consumer *consumer) {
    int64_t lag = 0;
    for (size_t i = 0; i < consumer->n_progress; i++) {
        const struct progress *progress = &consumer->progress[i];
        int64_t low, high, next = progress->next == progress->end.from ? progress->end.to : progress->next;
        if (next >= 0 &&
            !rd_kafka_get_watermark_offsets(consumer->rk, progress->place.topic, progress->place.partition, &low,
                                            &high) &&
            high > next)
            lag += high - next;
    }
    return lag;
}

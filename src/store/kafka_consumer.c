/* The consumer of issue and complete: eager range assignment, no automatic commits, messages polled one by one (batch
 * consumption is known to drop messages around seek, pause and rebalance). */
#include <stdio.h>
#include <stdlib.h>

#include "store/kafka_internal.h"

#define QUERY_TIMEOUT_MS 2000

struct kafka_consumer {
    const struct kafka_options *options; /* first: kafka_internal.h */
    struct kafka_consumer_events events;
    rd_kafka_t *rk;
    char topic[KAFKA_TOPIC_MAX];
    bool paused;
};

static void start_from(struct kafka_consumer *consumer, rd_kafka_topic_partition_list_t *list) {
    size_t n = (size_t)list->cnt;
    if (!consumer->events.on_assign || n == 0)
        return;
    int32_t *partitions = calloc(n, sizeof *partitions);
    int64_t *low = calloc(n, sizeof *low), *start = calloc(n, sizeof *start);
    if (!partitions || !low || !start)
        abort();
    for (size_t i = 0; i < n; i++) {
        int64_t high;
        partitions[i] = list->elems[i].partition;
        if (rd_kafka_query_watermark_offsets(consumer->rk, consumer->topic, partitions[i], &low[i], &high,
                                             QUERY_TIMEOUT_MS))
            low[i] = 0;
    }
    if (consumer->events.on_assign(consumer->events.arg, partitions, low, start, n))
        for (size_t i = 0; i < n; i++)
            list->elems[i].offset = start[i];
    free(partitions);
    free(low);
    free(start);
}

static void rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list, void *opaque) {
    struct kafka_consumer *consumer = opaque;
    if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        start_from(consumer, list);
        rd_kafka_assign(rk, list);
        if (consumer->paused)
            rd_kafka_pause_partitions(rk, list);
    } else {
        if (consumer->events.on_revoke)
            consumer->events.on_revoke(consumer->events.arg);
        rd_kafka_assign(rk, NULL);
    }
}

static bool configure(struct kafka_consumer *consumer, const char *name, rd_kafka_conf_t *conf, struct err *err) {
    static const char *const settings[][2] = {
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "earliest"},
        {"partition.assignment.strategy", "range"},
        /* A killed member's partitions are served again after this; brokers allow no less by default. */
        {"session.timeout.ms", "6000"},
        {"heartbeat.interval.ms", "1500"},
        {"max.poll.interval.ms", "300000"},
        {"fetch.wait.max.ms", "100"},
        {"fetch.error.backoff.ms", "50"},
        {"queued.max.messages.kbytes", "16384"},
        {"queued.min.messages", "20000"},
    };
    char group[KAFKA_TOPIC_MAX];
    snprintf(group, sizeof group, "%s%s", consumer->options->topic_prefix, name);
    rd_kafka_conf_set_opaque(conf, consumer);
    rd_kafka_conf_set_rebalance_cb(conf, rebalance);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (!kafka_set(conf, settings[i][0], settings[i][1], err))
            return false;
    return kafka_common_conf(consumer->options, conf, err) && kafka_set(conf, "group.id", group, err);
}

static bool subscribe(struct kafka_consumer *consumer, struct err *err) {
    rd_kafka_poll_set_consumer(consumer->rk);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, consumer->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(consumer->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (error)
        return err_set(err, ERR_INTERNAL, BACKEND_KAFKA, "subscribing to %s: %s", consumer->topic,
                       rd_kafka_err2str(error));
    return true;
}

bool kafka_consumer_new(const struct kafka_options *options, enum stream stream, const char *group,
                        const struct kafka_consumer_events *events, struct kafka_consumer **ret_consumer,
                        struct err *err) {
    struct kafka_consumer *consumer = calloc(1, sizeof *consumer);
    if (!consumer)
        abort();
    consumer->options = options;
    consumer->events = *events;
    kafka_topic_name(options, stream, consumer->topic);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256] = "";
    if (!configure(consumer, group, conf, err)) {
        rd_kafka_conf_destroy(conf);
        free(consumer);
        return false;
    }
    consumer->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (!consumer->rk) {
        rd_kafka_conf_destroy(conf);
        free(consumer);
        return err_set(err, ERR_INTERNAL, BACKEND_KAFKA, "%s", text);
    }
    if (!subscribe(consumer, err)) {
        rd_kafka_destroy(consumer->rk);
        free(consumer);
        return false;
    }
    *ret_consumer = consumer;
    return true;
}

void kafka_consumer_free(struct kafka_consumer *consumer) {
    if (!consumer)
        return;
    rd_kafka_consumer_close(consumer->rk);
    rd_kafka_destroy(consumer->rk);
    free(consumer);
}

static const char *traceparent_of(const rd_kafka_message_t *message) {
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    /* librdkafka puts a NUL behind each header's value. */
    if (rd_kafka_message_headers(message, &headers) || rd_kafka_header_get_last(headers, "traceparent", &value, &len))
        return NULL;
    return value;
}

size_t kafka_consume(struct kafka_consumer *consumer, int wait_ms, struct kafka_message *messages, size_t max) {
    size_t n = 0;
    while (n < max) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->rk, n ? 0 : wait_ms);
        if (!message)
            break;
        if (message->err) { /* an event, e.g. no broker reachable; librdkafka goes on by itself */
            rd_kafka_message_destroy(message);
            if (n == 0)
                break;
            continue;
        }
        messages[n++] = (struct kafka_message){
            .partition = message->partition,
            .offset = message->offset,
            .key = message->key,
            .key_len = message->key_len,
            .value = message->payload,
            .value_len = message->len,
            .traceparent = traceparent_of(message),
            .handle = message,
        };
    }
    return n;
}

void kafka_release(struct kafka_message *messages, size_t n) {
    for (size_t i = 0; i < n; i++)
        rd_kafka_message_destroy(messages[i].handle);
}

static rd_kafka_topic_partition_list_t *one_partition(const struct kafka_consumer *consumer, int32_t partition,
                                                      int64_t offset) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, consumer->topic, partition)->offset = offset;
    return list;
}

bool kafka_seek(struct kafka_consumer *consumer, const int32_t *partitions, const int64_t *offsets, size_t n,
                struct err *err) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, consumer->topic, partitions[i])->offset = offsets[i];
    rd_kafka_error_t *error = rd_kafka_seek_partitions(consumer->rk, list, QUERY_TIMEOUT_MS);
    rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; i < list->cnt && !code; i++)
        code = list->elems[i].err;
    rd_kafka_error_destroy(error);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return err_set(err, ERR_UNAVAILABLE, BACKEND_KAFKA, "seeking in %s: %s", consumer->topic,
                       rd_kafka_err2str(code));
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

void kafka_commit(struct kafka_consumer *consumer, int32_t partition, int64_t next_offset) {
    rd_kafka_topic_partition_list_t *list = one_partition(consumer, partition, next_offset);
    rd_kafka_commit(consumer->rk, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
}

int64_t kafka_consumer_lag(struct kafka_consumer *consumer) {
    rd_kafka_topic_partition_list_t *list = NULL;
    int64_t lag = 0;
    if (rd_kafka_assignment(consumer->rk, &list) || !list)
        return 0;
    rd_kafka_position(consumer->rk, list);
    for (int i = 0; i < list->cnt; i++) {
        int64_t low, high;
        if (list->elems[i].offset >= 0 &&
            !rd_kafka_get_watermark_offsets(consumer->rk, consumer->topic, list->elems[i].partition, &low, &high) &&
            high > list->elems[i].offset)
            lag += high - list->elems[i].offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return lag;
}

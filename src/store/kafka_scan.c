/* SPDX-License-Identifier: Apache-2.0 */
#include "store/kafka_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/heart.h"
#include "base/memory.h"
#include "store/kafka_internal.h"

#define POLL_MS 100

struct reader {
    struct kafka_options options; /* first: kafka_internal.h */
    rd_kafka_t *rk;
};

static rd_kafka_t *open_handle(struct reader *reader, struct err *err) {
    char group[KAFKA_TOPIC_MAX];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    /* librdkafka requires a group's name even if no group is joined. */
    snprintf(group, sizeof group, "%scoupon-verifier", reader->options.topic_prefix);
    rd_kafka_conf_set_opaque(conf, reader);
    rd_kafka_t *rk = NULL;
    if (kafka_reader_conf(&reader->options, conf, err) && kafka_set(conf, "enable.partition.eof", "true", err) &&
        kafka_set(conf, "group.id", group, err) && kafka_set(conf, "enable.auto.commit", "false", err) &&
        kafka_set(conf, "enable.auto.offset.store", "false", err))
        rk = kafka_handle(RD_KAFKA_CONSUMER, conf, err);
    if (!rk)
        rd_kafka_conf_destroy(conf);
    return rk;
}

static rd_kafka_topic_partition_list_t *list_of(const struct kafka_span *spans, size_t n) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, spans[i].topic, spans[i].partition);
    return list;
}

/* Fills low, start, end and next of each span. */
static bool find_offsets(rd_kafka_t *rk, const struct kafka_scan *scan, struct err *err) {
    struct kafka_span *spans = scan->spans;
    size_t n = scan->n;
    int timeout_ms = scan->timeout_ms;
    rd_kafka_topic_partition_list_t *low = list_of(spans, n), *high = list_of(spans, n), *since = list_of(spans, n);
    bool ok = kafka_list_offsets(rk, low, RD_KAFKA_OFFSET_BEGINNING, timeout_ms, err) &&
              kafka_list_offsets(rk, high, RD_KAFKA_OFFSET_END, timeout_ms, err) &&
              kafka_list_offsets(rk, since, scan->since_us / US_PER_MS, timeout_ms, err);
    for (size_t i = 0; ok && i < n; i++) {
        int64_t at = rd_kafka_topic_partition_list_find(since, spans[i].topic, spans[i].partition)->offset;
        spans[i].low = rd_kafka_topic_partition_list_find(low, spans[i].topic, spans[i].partition)->offset;
        spans[i].end = rd_kafka_topic_partition_list_find(high, spans[i].topic, spans[i].partition)->offset;
        /* Negative: every message is older than since_us. */
        spans[i].start = at < 0 ? spans[i].end : at < spans[i].low ? spans[i].low : at;
        spans[i].next = spans[i].start;
    }
    rd_kafka_topic_partition_list_destroy(low);
    rd_kafka_topic_partition_list_destroy(high);
    rd_kafka_topic_partition_list_destroy(since);
    return ok;
}

static bool assign(rd_kafka_t *rk, const struct kafka_scan *scan, struct err *err) {
    const struct kafka_span *spans = scan->spans;
    size_t n = scan->n;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++)
        if (spans[i].next < spans[i].end)
            rd_kafka_topic_partition_list_add(list, spans[i].topic, spans[i].partition)->offset = spans[i].next;
    rd_kafka_resp_err_t error = rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return !error || err_set(err, kafka_err_code(error), BACKEND_KAFKA, "reading %s: %s", spans[0].topic,
                             rd_kafka_err2str(error));
}

static struct kafka_span *span_of(const struct kafka_scan *scan, const rd_kafka_message_t *message) {
    for (size_t i = 0; i < scan->n; i++) {
        struct kafka_span *span = &scan->spans[i];
        if (span->partition == message->partition && strcmp(span->topic, rd_kafka_topic_name(message->rkt)) == 0)
            return span;
    }
    return NULL;
}

static size_t unfinished(const struct kafka_scan *scan) {
    size_t count = 0;
    for (size_t i = 0; i < scan->n; i++)
        count += scan->spans[i].next < scan->spans[i].end;
    return count;
}

/* Hands a message within its span to on_message. Returns false if on_message wants to stop. The span may end in offsets
 * that hold no message: a later message, or the end of the partition, shows that it is finished. */
static bool take(const struct kafka_scan *scan, const rd_kafka_message_t *message) {
    bool is_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    struct kafka_span *span = message->err && !is_end ? NULL : span_of(scan, message);
    if (!span || message->offset < span->next)
        return true;
    if (is_end || message->offset >= span->end) {
        span->next = message->offset < span->end ? message->offset : span->end;
        return true;
    }
    span->next = message->offset + 1;
    const struct kafka_message seen = {
        .place = {span->topic, span->partition},
        .offset = message->offset,
        .key = message->key,
        .key_len = message->key_len,
        .value = message->payload,
        .value_len = message->len,
    };
    return scan->on_message(scan->arg, &seen);
}

bool kafka_scan(const struct kafka_options *options, const struct kafka_scan *scan, struct err *err) {
    if (scan->n == 0)
        return true;
    struct reader *reader = memory_new(1, sizeof *reader);
    reader->options = *options;
    int64_t give_up_us = clock_mono_us() + scan->timeout_ms * US_PER_MS;
    reader->rk = open_handle(reader, err);
    if (!reader->rk) {
        free(reader);
        return false;
    }
    rd_kafka_poll_set_consumer(reader->rk);
    bool ok = find_offsets(reader->rk, scan, err) && assign(reader->rk, scan, err);
    for (bool more = ok; more && unfinished(scan) && clock_mono_us() < give_up_us;) {
        heart_beat();
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader->rk, POLL_MS);
        more = message ? take(scan, message) : scan->on_message(scan->arg, NULL);
        if (message)
            rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(reader->rk, NULL);
    if (kafka_destroy(reader->rk))
        free(reader);
    return ok;
}

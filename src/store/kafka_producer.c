/* SPDX-License-Identifier: Apache-2.0 */
/* The relays' producer: idempotent, acks=all, without a message time-out. Headers follow the CloudEvents binding in
 * binary mode.
 *
 * A shared topic is opened with its first message, a coupon's own topic by kafka_producer_open_topic. A hash table
 * holds the open topics. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/decimal.h"
#include "base/ints.h"
#include "base/memory.h"
#include "model/event.h"
#include "store/kafka_internal.h"

#define TOPICS_MIN 16 /* a power of two */

struct open_topic {
    int64_t id; /* the coupon's id, or the negated version of the shared topic; 0: free */
    rd_kafka_topic_t *handle;
};

struct kafka_producer {
    struct kafka_options options; /* first: kafka_internal.h */
    rd_kafka_t *rk;
    struct kafka_secrets secrets;
    struct open_topic *topics; /* a hash table by id, at most half full */
    size_t topics_mask, n_topics;
    enum stream stream;
    struct kafka_acks acks;
    bool discarding; /* kafka_producer_free is running: on_ack is no longer called */
};

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
    struct kafka_producer *producer = opaque;
    (void)rk;
    const struct kafka_acks *acks = &producer->acks;
    if (producer->discarding)
        return;
    if (!message->err) {
        acks->on_ack(acks->arg, (uintptr_t)message->_private, NULL);
        return;
    }
    const struct kafka_failure failure = kafka_failure_of(message->err, rd_kafka_topic_name(message->rkt), NULL);
    acks->on_ack(acks->arg, (uintptr_t)message->_private, &failure);
}

/* librdkafka retries by itself. kafka_producer_is_fatal finds fatal errors. */
static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque) {
    struct kafka_producer *producer = opaque;
    const struct kafka_acks *acks = &producer->acks;
    (void)rk;
    if (producer->discarding || !acks->on_error || error == RD_KAFKA_RESP_ERR__FATAL)
        return;
    const struct kafka_failure failure = kafka_failure_of((rd_kafka_resp_err_t)error, NULL, reason);
    acks->on_error(acks->arg, &failure);
}

static bool configure(struct kafka_producer *producer, rd_kafka_conf_t *conf, struct err *err) {
    static const char *const settings[][2] = {
        {"enable.idempotence", "true"},
        {"acks", "all"},
        /* Messages wait until an outage is over; the lane's cursor does not move meanwhile. */
        {"message.timeout.ms", "0"},
        /* As Java's default partitioner: by key. Messages without a key change the partition every few milliseconds. */
        {"partitioner", "murmur2_random"},
        {"compression.type", "none"},
        {"queue.buffering.max.kbytes", "65536"},
    };
    /* A request has a fixed cost, even a small one. Users wait for requested events, so the relay flushes them; the
     * linger only puts events that are produced together into one request. Published events may be late by the linger,
     * since only flags depend on them. */
    if (!kafka_set(conf, "linger.ms", producer->stream == STREAM_REQUESTED ? "5" : "10", err))
        return false;
    char messages[16], bytes[16];
    snprintf(messages, sizeof messages, "%d", producer->options.in_flight_max);
    snprintf(bytes, sizeof bytes, "%d", producer->acks.batch_bytes);
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_error_cb(conf, on_error);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (!kafka_set(conf, settings[i][0], settings[i][1], err))
            return false;
    return kafka_common_conf(&producer->options, conf, err) &&
           kafka_set(conf, "queue.buffering.max.messages", messages, err) &&
           (!producer->acks.batch_bytes || kafka_set(conf, "batch.size", bytes, err)) && kafka_check_limits(conf, err);
}

bool kafka_producer_new(const struct kafka_options *options, enum stream stream, const struct kafka_acks *acks,
                        struct kafka_producer **ret_producer, struct err *err) {
    struct kafka_producer *producer = memory_new(1, sizeof *producer);
    *producer =
        (struct kafka_producer){.options = *options, .stream = stream, .acks = *acks, .topics_mask = TOPICS_MIN - 1};
    producer->topics = memory_new(TOPICS_MIN, sizeof *producer->topics);
    kafka_secrets_init(&producer->secrets, options);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (configure(producer, conf, err))
        producer->rk = kafka_handle(RD_KAFKA_PRODUCER, conf, err);
    if (!producer->rk) {
        rd_kafka_conf_destroy(conf);
        kafka_secrets_deinit(&producer->secrets);
        free(producer->topics);
        free(producer);
        return false;
    }
    static const uint64_t one = 1; /* added to the eventfd's counter */
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(producer->rk);
    rd_kafka_queue_io_event_enable(queue, acks->wake_fd, &one, sizeof one);
    rd_kafka_queue_destroy(queue);
    *ret_producer = producer;
    return true;
}

void kafka_producer_free(struct kafka_producer *producer) {
    if (!producer)
        return;
    producer->discarding = true;
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(producer->rk);
    rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
    rd_kafka_queue_destroy(queue);
    rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(producer->rk, 1000);
    for (size_t i = 0; i <= producer->topics_mask; i++)
        if (producer->topics[i].id)
            rd_kafka_topic_destroy(producer->topics[i].handle);
    free(producer->topics);
    kafka_secrets_deinit(&producer->secrets);
    if (kafka_destroy(producer->rk))
        free(producer);
}

bool kafka_producer_check(const struct kafka_options *options, enum stream stream, struct err *err) {
    struct kafka_producer *producer;
    const struct kafka_acks acks = {.wake_fd = -1};
    if (!kafka_producer_new(options, stream, &acks, &producer, err))
        return false;
    kafka_producer_free(producer);
    return true;
}

static void add_header(rd_kafka_headers_t *headers, const char *name, const char *value, size_t len) {
    rd_kafka_header_add(headers, name, -1, value, (ssize_t)len);
}

static rd_kafka_headers_t *headers_of(enum stream stream, const struct outbox_entry *entry) {
    static const char *const types[STREAMS] = {"coupon.v1.PublishRequested", "coupon.v1.Published"};
    char id[2 * DECIMAL_MAX + 1];
    size_t id_len = decimal_write(entry->coupon_id, id);
    id[id_len++] = '-';
    id_len += decimal_write(entry->ticket, id + id_len);
    rd_kafka_headers_t *headers = rd_kafka_headers_new(7);
    add_header(headers, "ce_specversion", "1.0", 3);
    add_header(headers, "ce_id", id, id_len);
    add_header(headers, "ce_type", types[stream], strlen(types[stream]));
    add_header(headers, "ce_source", "/couponsd", 9);
    add_header(headers, "content-type", "application/protobuf", 20);
    if (entry->traceparent_len) {
        struct event event;
        add_header(headers, "traceparent", entry->traceparent, entry->traceparent_len);
        /* The outbox keeps a tracestate in the event alone. */
        if (event_read(stream, entry->payload, entry->payload_len, &event) && event.tracestate_len)
            add_header(headers, "tracestate", event.tracestate, event.tracestate_len);
    }
    return headers;
}

static struct open_topic *topic_slot(struct open_topic *topics, size_t mask, int64_t id) {
    size_t at = hash_int64(id) & mask;
    while (topics[at].id && topics[at].id != id)
        at = (at + 1) & mask;
    return &topics[at];
}

static void grow_topics(struct kafka_producer *producer) {
    size_t mask = 2 * producer->topics_mask + 1;
    struct open_topic *topics = memory_new(mask + 1, sizeof *topics);
    for (size_t i = 0; i <= producer->topics_mask; i++)
        if (producer->topics[i].id)
            *topic_slot(topics, mask, producer->topics[i].id) = producer->topics[i];
    free(producer->topics);
    producer->topics = topics;
    producer->topics_mask = mask;
}

/* Finds or opens the shared topic of this version, or the coupon's own topic if `version` is 0. Returns NULL if
 * librdkafka does not accept the name. */
static rd_kafka_topic_t *topic_of(struct kafka_producer *producer, int version, int64_t coupon_id) {
    int64_t id = version ? -(int64_t)version : coupon_id;
    struct open_topic *slot = topic_slot(producer->topics, producer->topics_mask, id);
    if (slot->id)
        return slot->handle;
    char name[KAFKA_TOPIC_MAX];
    kafka_topic_name(&producer->options, producer->stream, version, version ? 0 : coupon_id, name);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(producer->rk, name, NULL);
    if (!handle)
        return NULL;
    *slot = (struct open_topic){.id = id, .handle = handle};
    if (2 * ++producer->n_topics > producer->topics_mask)
        grow_topics(producer);
    return handle;
}

bool kafka_producer_has_topic(const struct kafka_producer *producer, int64_t coupon_id) {
    return topic_slot(producer->topics, producer->topics_mask, coupon_id)->id != 0;
}

bool kafka_producer_open_topic(struct kafka_producer *producer, int64_t coupon_id) {
    return topic_of(producer, 0, coupon_id) != NULL;
}

bool kafka_produce(struct kafka_producer *producer, const struct outbox_entry *entry, int version, uintptr_t tag,
                   struct err *err) {
    rd_kafka_topic_t *topic = topic_of(producer, version, entry->coupon_id);
    if (!topic)
        return err_set(err, ERR_INVALID, BACKEND_KAFKA, "%s", rd_kafka_err2str(rd_kafka_last_error()));
    char key[DECIMAL_MAX];
    size_t key_len = decimal_write(entry->coupon_id, key);
    rd_kafka_headers_t *headers = headers_of(producer->stream, entry);
    /* librdkafka's fields are not const, but it only copies from them. */
    const rd_kafka_vu_t message[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {version ? key : NULL, version ? key_len : 0}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)entry->payload, entry->payload_len}},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
        /* Brokers refuse times that are too far ahead of their own, and this machine's clock may be wrong. */
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = producer->acks.own_clock ? 0 : entry->append_us / US_PER_MS},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)tag},
    };
    rd_kafka_error_t *error = rd_kafka_produceva(producer->rk, message, sizeof message / sizeof message[0]);
    if (!error)
        return true;
    err_set(err, rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL ? ERR_UNAVAILABLE : ERR_REFUSED,
            BACKEND_KAFKA, "%s", rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    rd_kafka_headers_destroy(headers);
    return false;
}

void kafka_producer_poll(struct kafka_producer *producer) {
    kafka_secrets_refresh(&producer->secrets, &producer->options, producer->rk);
    rd_kafka_poll(producer->rk, 0);
}

bool kafka_producer_is_fatal(struct kafka_producer *producer, struct kafka_failure *ret_failure) {
    char text[200];
    rd_kafka_resp_err_t error = rd_kafka_fatal_error(producer->rk, text, sizeof text);
    if (!error)
        return false;
    *ret_failure = kafka_failure_of(error, NULL, text);
    return true;
}

bool kafka_producer_flush(struct kafka_producer *producer, int timeout_ms) {
    return rd_kafka_flush(producer->rk, timeout_ms) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

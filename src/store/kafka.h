/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka: topics, a producer for a relay, a consumer for issue and complete. librdkafka underneath.
 *
 * Vocabulary:
 *   version   a stream's shared topic exists in versions (….v1, ….v2): a topic's partitions cannot be changed without
 *             moving keys, so another number of partitions is another topic. Messages carry the coupon's id as key.
 *   coupon's  a coupon may have a topic of its own (….v1.42): its messages have no key and spread over all partitions.
 *   place     a partition of a topic
 *
 * A producer or a consumer belongs to one thread, which serves its callbacks by polling it. Any number of threads may
 * use a kafka_admin. Nothing here logs: librdkafka's messages go to options.on_log, on any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/property.h"
#include "model/coupon.h"
#include "store/outbox.h"

#define KAFKA_TOPIC_MAX 250 /* bytes with the NUL; Kafka's own limit is 249 */

struct kafka_options { /* strings must outlive every object made with it */
    const char *brokers;
    const char *topic_prefix;
    int replication_factor;            /* of topics that are created */
    int in_flight_max;                 /* messages a producer holds unacknowledged */
    const struct property *properties; /* of librdkafka, passed on as they are */
    size_t n_properties;
    void (*on_log)(int syslog_level, const char *text);
};

/* True if librdkafka knows this property and accepts the value, and couponsd does not set it itself. The error never
 * repeats a value that may be secret. */
bool kafka_check_property(const char *name, const char *value, struct err *err);

/* --- names --- */

/* A topic's name, e.g. "outside.coupon.publish.requested.v1" behind the prefix. `coupon_id`: 0 for the shared topic of
 * this version; a coupon's own is always of version 1. */
void kafka_topic_name(const struct kafka_options *options, enum stream stream, int version, int64_t coupon_id,
                      char ret_name[static KAFKA_TOPIC_MAX]);
/* Parses such a name; false if the name is none of ours. */
bool kafka_topic_parse(const struct kafka_options *options, const char *name, enum stream *ret_stream, int *ret_version,
                       int64_t *ret_coupon_id);
/* The consumer group of a stream: "coupon-issuer" or "coupon-completer" behind the prefix, as the topics have it, so
 * that installations that share a Kafka leave each other alone. */
void kafka_group_name(const struct kafka_options *options, enum stream stream, char ret_name[static KAFKA_TOPIC_MAX]);

/* --- administration: any thread; each call blocks for up to its time-out --- */

struct kafka_admin;

bool kafka_admin_new(const struct kafka_options *options, struct kafka_admin **ret_admin, struct err *err);
void kafka_admin_free(struct kafka_admin *admin); /* NULL is fine */

/* How many partitions a topic has; 0: it does not exist. */
bool kafka_topic_partitions(struct kafka_admin *admin, const char *topic, int timeout_ms, int *ret_partitions,
                            struct err *err);
struct kafka_topic {
    enum stream stream;
    int version;
    int64_t coupon_id; /* 0: shared */
    int partitions;
    char name[KAFKA_TOPIC_MAX];
};
/* All of our topics that exist. The caller frees the array. */
bool kafka_topic_list(struct kafka_admin *admin, int timeout_ms, struct kafka_topic **ret_topics, size_t *ret_n,
                      struct err *err);
enum kafka_made { KAFKA_MISSING, KAFKA_EXISTED, KAFKA_CREATED };
struct kafka_new_topics {
    size_t n;
    const char *const *name;
    int partitions;        /* of each */
    enum kafka_made *made; /* out: of n elements, also on failure; may be NULL */
};
/* Creates the topics. A topic that exists stays as it is. False: at least one is missing, and *err tells the first. */
bool kafka_topic_create(struct kafka_admin *admin, const struct kafka_new_topics *topics, int timeout_ms,
                        struct err *err);
/* A topic that does not exist is fine. */
bool kafka_topic_delete(struct kafka_admin *admin, const char *const *topics, size_t n, int timeout_ms,
                        struct err *err);
/* Offsets of a topic's partitions 0 to n_partitions - 1. */
struct kafka_offsets {
    const char *topic;
    int n_partitions;
    /* out: arrays of n_partitions elements; those that a call does not fill may be NULL */
    int64_t *low;  /* the oldest offset there is */
    int64_t *high; /* the offset that the next message will get */
    int64_t *next; /* the offset that a group has committed; -1: none */
};
/* Fills `low` and `high`. */
bool kafka_topic_ends(struct kafka_admin *admin, const struct kafka_offsets *offsets, int timeout_ms, struct err *err);
/* Fills `next`, of the stream's group. */
bool kafka_group_offsets(struct kafka_admin *admin, enum stream stream, const struct kafka_offsets *offsets,
                         int timeout_ms, struct err *err);

/* --- producing --- */

struct kafka_producer;

/* How a producer tells its owner about acknowledgements. */
struct kafka_acks {
    void (*on_ack)(void *arg, uintptr_t tag, bool ok); /* runs within kafka_producer_poll, once per message */
    void *arg;
    int wake_fd; /* an eventfd; the producer writes to it when there is something to poll for */
};
bool kafka_producer_new(const struct kafka_options *options, enum stream stream, const struct kafka_acks *acks,
                        struct kafka_producer **ret_producer, struct err *err);
/* Drops messages that are not yet acknowledged, without calling on_ack for them. NULL is fine. */
void kafka_producer_free(struct kafka_producer *producer);
/* Whether this coupon's own topic was opened, and opening it; it must exist by then. */
bool kafka_producer_has_topic(const struct kafka_producer *producer, int64_t coupon_id);
bool kafka_producer_open_topic(struct kafka_producer *producer, int64_t coupon_id);
/* To the shared topic of this version, or with version 0 to the coupon's own; the topic exists. Copies the entry.
 * False: the queue is full, try again after a poll (ERR_UNAVAILABLE), or it can't be sent. */
bool kafka_produce(struct kafka_producer *producer, const struct outbox_entry *entry, int version, uintptr_t tag,
                   struct err *err);
void kafka_producer_poll(struct kafka_producer *producer);
/* True after an error that no retry mends: free it and make a new one. */
bool kafka_producer_is_fatal(struct kafka_producer *producer);
/* Waits up to timeout_ms for all acknowledgements. */
bool kafka_producer_flush(struct kafka_producer *producer, int timeout_ms);

/* --- consuming --- */

struct kafka_consumer;

/* The topic's name lives as long as the consumer, and is the same pointer for the same topic. */
struct kafka_place {
    const char *topic;
    int32_t partition;
};
/* By topic, then partition: negative, 0, positive. */
int kafka_place_compare(const struct kafka_place *a, const struct kafka_place *b);

struct kafka_message {
    struct kafka_place place;
    int64_t offset;
    const void *key, *value;
    size_t key_len, value_len;
    void *handle;
};

struct kafka_consumer_events {
    void *arg;
    /* Within kafka_consume: exactly these places are ours now. Sets ret_start[i]; false: start from the offsets that
     * were committed to Kafka. May be NULL. */
    bool (*on_assign)(void *arg, const struct kafka_place *places, int64_t *ret_start, size_t n);
    /* Within kafka_consume or kafka_consumer_free: nothing is ours any more. May be NULL. */
    void (*on_revoke)(void *arg);
};

/* Reads every topic of the stream: all versions of the shared one and coupons' own. Notices a new topic within a second
 * or two. `group`: NULL for the stream's own, else another, which sees all messages once more. */
bool kafka_consumer_new(const struct kafka_options *options, enum stream stream, const char *group,
                        const struct kafka_consumer_events *events, struct kafka_consumer **ret_consumer,
                        struct err *err);
/* Commits the offsets that were given to kafka_commit, and leaves the group. NULL is fine. */
void kafka_consumer_free(struct kafka_consumer *consumer);
/* Waits up to wait_ms for a first message, then takes the messages that are there: up to `max`, fewer where they are
 * large. The caller releases them together. */
size_t kafka_consume(struct kafka_consumer *consumer, int wait_ms, struct kafka_message *messages, size_t max);
void kafka_release(struct kafka_message *messages, size_t n);
/* Asks Kafka for the oldest offset there is, and for the one that the next message will get; -1: not known. Also from
 * within on_assign. False: none is known. */
bool kafka_ends(struct kafka_consumer *consumer, const struct kafka_place *places, size_t n, int64_t *ret_low,
                int64_t *ret_high, struct err *err);
/* The offset behind the last message that kafka_consume returned, or that was sought; -1: not known. */
void kafka_positions(struct kafka_consumer *consumer, const struct kafka_place *places, size_t n, int64_t *ret_next);
/* Moves to these offsets, all at once. */
bool kafka_seek(struct kafka_consumer *consumer, const struct kafka_place *places, const int64_t *offsets, size_t n,
                struct err *err);
/* Stops and continues the flow of messages; membership in the group is kept as long as kafka_consume is called. */
void kafka_pause(struct kafka_consumer *consumer, bool pause);
/* Records that everything below next_offset is done. kafka_consume commits it to Kafka without waiting, and repeats
 * that until Kafka has acknowledged it. */
void kafka_commit(struct kafka_consumer *consumer, const struct kafka_place *place, int64_t next_offset);
/* Messages in our partitions that were not yet returned by kafka_consume, as far as is known without asking. */
int64_t kafka_consumer_lag(struct kafka_consumer *consumer);

/* Kafka: topics, a producer for a relay, a consumer for issue and complete. librdkafka underneath.
 *
 * Vocabulary:
 *   version   a stream's shared topic exists in versions (….v1, ….v2): a topic's partitions cannot be changed without
 *             moving keys, so another number of partitions is another topic. Messages carry the coupon's id as key.
 *   coupon's  a coupon may have a topic of its own (….v1.42): its messages have no key and spread over all partitions.
 *   place     a partition of a topic
 *
 * Producers and consumers belong to one thread each, which serves their callbacks by polling them; a kafka_admin may be
 * used by any number. Nothing here logs: what librdkafka has to say goes to options.on_log, called on any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/property.h"
#include "store/outbox.h"
#include "model/coupon.h"

#define KAFKA_TOPIC_MAX 250 /* bytes with the NUL; Kafka's own limit is 249 */

struct kafka_options { /* strings must outlive every object made with it */
    const char *brokers;
    const char *topic_prefix;
    int replication_factor; /* of topics that are created */
    int in_flight_max;      /* messages a producer holds unacknowledged */
    const struct property *properties; /* of librdkafka, passed on as they are */
    size_t n_properties;
    void (*on_log)(int syslog_level, const char *text);
};

/* Whether librdkafka knows this property and takes the value, and couponsd does not need it for itself. The error never
 * repeats a value that may be secret. */
bool kafka_check_property(const char *name, const char *value, struct err *err);

/* --- names --- */

/* A topic's name, e.g. "outside.coupon.publish.requested.v1" behind the prefix. `coupon_id`: 0 for the shared topic of
 * this version; a coupon's own is always of version 1. */
void kafka_topic_name(const struct kafka_options *options, enum stream stream, int version, int64_t coupon_id,
                      char ret_name[static KAFKA_TOPIC_MAX]);
/* The other way round; false if the name is none of ours. */
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
/* All of ours that exist; to be freed with free. */
bool kafka_topic_list(struct kafka_admin *admin, int timeout_ms, struct kafka_topic **ret_topics, size_t *ret_n,
                      struct err *err);
/* Creates them; one that exists is fine, whatever it looks like. False: at least one is missing, and *err tells the
 * first. ret_made[i], unless NULL, says what came of each. */
enum kafka_made { KAFKA_MISSING, KAFKA_EXISTED, KAFKA_CREATED };
bool kafka_topic_create(struct kafka_admin *admin, const char *const *topics, size_t n, int partitions, int timeout_ms,
                        enum kafka_made *ret_made, struct err *err);
/* One that does not exist is fine. */
bool kafka_topic_delete(struct kafka_admin *admin, const char *const *topics, size_t n, int timeout_ms,
                        struct err *err);
/* Of partitions 0 to n-1: the oldest offset there is, and the one that the next message will get. */
bool kafka_topic_ends(struct kafka_admin *admin, const char *topic, int n, int timeout_ms, int64_t *ret_low,
                      int64_t *ret_high, struct err *err);
/* What the stream's group has committed for partitions 0 to n-1; -1: nothing. */
bool kafka_group_offsets(struct kafka_admin *admin, enum stream stream, const char *topic, int n, int timeout_ms,
                         int64_t *ret_next, struct err *err);

/* --- producing --- */

struct kafka_producer;

/* `on_ack(arg, tag, ok)` runs within kafka_producer_poll, once per message. `wake_fd`: an eventfd that is written to
 * when there is something to poll for. */
bool kafka_producer_new(const struct kafka_options *options, enum stream stream,
                        void (*on_ack)(void *arg, uintptr_t tag, bool ok), void *arg, int wake_fd,
                        struct kafka_producer **ret_producer, struct err *err);
/* Messages not yet acknowledged are dropped, their on_ack not called. NULL is fine. */
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
    /* Within kafka_consume: these places are ours now, and no others. Sets start[i]; false: start from what was
     * committed to Kafka. May be NULL. */
    bool (*on_assign)(void *arg, const struct kafka_place *places, int64_t *ret_start, size_t n);
    /* Within kafka_consume or kafka_consumer_free: nothing is ours any more. May be NULL. */
    void (*on_revoke)(void *arg);
};

/* Reads every topic of the stream: all versions of the shared one and coupons' own. A new one is found by itself within
 * a second or two. `group`: NULL for the stream's own, else another, which sees all messages once more. */
bool kafka_consumer_new(const struct kafka_options *options, enum stream stream, const char *group,
                        const struct kafka_consumer_events *events, struct kafka_consumer **ret_consumer,
                        struct err *err);
/* Commits what kafka_commit was told, and leaves the group. NULL is fine. */
void kafka_consumer_free(struct kafka_consumer *consumer);
/* Waits up to wait_ms for a first message, then takes what is there, up to `max`, fewer where they are large. They are
 * released together. */
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
/* Everything below next_offset is done: kafka_consume tells Kafka so, without waiting, and again until it has heard. */
void kafka_commit(struct kafka_consumer *consumer, const struct kafka_place *place, int64_t next_offset);
/* Messages in our partitions that were not yet returned by kafka_consume, as far as is known without asking. */
int64_t kafka_consumer_lag(struct kafka_consumer *consumer);

/* Kafka: topics, a producer for a relay, a consumer for issue and complete. librdkafka underneath.
 *
 * Each object belongs to one thread, which serves its callbacks by polling it. Nothing here logs: what librdkafka has
 * to say goes to options.on_log, called on any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "store/outbox.h"
#include "store/rows.h"

#define KAFKA_TOPIC_MAX 250 /* bytes with the NUL; Kafka's own limit is 249 */

struct kafka_options { /* strings must outlive every object made with it */
    const char *brokers;
    const char *topic_prefix;
    int partitions, replication_factor; /* of topics that are created */
    int in_flight_max;                  /* messages a producer holds unacknowledged */
    void (*on_log)(int syslog_level, const char *text);
};

/* The topic of a stream, e.g. "outside.coupon.publish.requested.v1" behind the prefix. */
void kafka_topic_name(const struct kafka_options *options, enum stream stream, char ret_name[static KAFKA_TOPIC_MAX]);

/* Creates the topics of both streams where missing, and refuses existing ones with another number of partitions
 * (ERR_INVALID). Blocks for up to about twice the time-out. ERR_UNAVAILABLE, ERR_PERMISSION: what they say. */
bool kafka_ensure_topics(const struct kafka_options *options, int timeout_ms, struct err *err);

/* --- producing --- */

struct kafka_producer;

/* `on_ack(arg, tag, ok)` runs within kafka_producer_poll, once per message. `wake_fd`: an eventfd that is written to
 * when there is something to poll for. */
bool kafka_producer_new(const struct kafka_options *options, enum stream stream,
                        void (*on_ack)(void *arg, uintptr_t tag, bool ok), void *arg, int wake_fd,
                        struct kafka_producer **ret_producer, struct err *err);
/* Messages not yet acknowledged are dropped, their on_ack not called. NULL is fine. */
void kafka_producer_free(struct kafka_producer *producer);
/* Copies the entry. False: the queue is full, try again after a poll (ERR_UNAVAILABLE), or it can't be sent. */
bool kafka_produce(struct kafka_producer *producer, const struct outbox_entry *entry, uintptr_t tag, struct err *err);
void kafka_producer_poll(struct kafka_producer *producer);
/* True after an error that no retry mends: free it and make a new one. */
bool kafka_producer_is_fatal(struct kafka_producer *producer);
/* Waits up to timeout_ms for all acknowledgements. */
bool kafka_producer_flush(struct kafka_producer *producer, int timeout_ms);

/* --- consuming --- */

struct kafka_consumer;

struct kafka_message {
    int32_t partition;
    int64_t offset;
    const void *key, *value;
    size_t key_len, value_len;
    const char *traceparent; /* the header's value as it came, NULL where there is none */
    void *handle;
};

struct kafka_consumer_events {
    void *arg;
    /* Within kafka_consume: these partitions are ours now. low[i]: the oldest offset there is. Sets start[i]; false:
     * start from what was committed to Kafka. May be NULL. */
    bool (*on_assign)(void *arg, const int32_t *partitions, const int64_t *low, int64_t *ret_start, size_t n);
    /* Within kafka_consume or kafka_consumer_free: nothing is ours any more. May be NULL. */
    void (*on_revoke)(void *arg);
};

/* `group` stands behind the topic prefix, as the topic does: installations that share a Kafka leave each other alone.
 */
bool kafka_consumer_new(const struct kafka_options *options, enum stream stream, const char *group,
                        const struct kafka_consumer_events *events, struct kafka_consumer **ret_consumer,
                        struct err *err);
/* Leaves the group. NULL is fine. */
void kafka_consumer_free(struct kafka_consumer *consumer);
/* Waits up to wait_ms for a first message, then takes what is there, up to `max`. They are released together. */
size_t kafka_consume(struct kafka_consumer *consumer, int wait_ms, struct kafka_message *messages, size_t max);
void kafka_release(struct kafka_message *messages, size_t n);
/* Moves to these offsets, all at once. */
bool kafka_seek(struct kafka_consumer *consumer, const int32_t *partitions, const int64_t *offsets, size_t n,
                struct err *err);
/* Stops and continues the flow of messages; membership in the group is kept as long as kafka_consume is called. */
void kafka_pause(struct kafka_consumer *consumer, bool pause);
/* Tells Kafka, without waiting, that everything below next_offset is done. */
void kafka_commit(struct kafka_consumer *consumer, int32_t partition, int64_t next_offset);
/* Messages in our partitions that were not yet returned by kafka_consume, as far as is known without asking. */
int64_t kafka_consumer_lag(struct kafka_consumer *consumer);

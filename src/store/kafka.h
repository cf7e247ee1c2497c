/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka, by librdkafka: topics, the relays' producer, and the consumer of issue and complete.
 *
 *   shared topic   one topic for all coupons of a stream. Messages have the coupon's id as key.
 *   version        a shared topic's number (….v1, ….v2). Another number of partitions would move keys to other
 *                  partitions, so it takes another version.
 *   own topic      a coupon's own topic (….v1.42). Its messages have no key and spread over all partitions.
 *   place          a partition of a topic
 *
 * A producer or a consumer belongs to one thread, which runs its callbacks by polling it. Any thread may use a
 * kafka_admin. Nothing here logs: librdkafka's messages go to options.on_log, on any thread. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/property.h"
#include "model/coupon.h"
#include "store/outbox.h"

#define KAFKA_TOPIC_MAX 250 /* bytes with the NUL; Kafka's own limit is 249 */

struct kafka_options { /* strings must outlive every object made with it */
    const char *brokers;
    const char *topic_prefix;
    int replication_factor;            /* of new topics */
    bool has_coupon_topics;            /* coupons have topics of their own, which consumers must find soon */
    int in_flight_max;                 /* the greatest number of unacknowledged messages of a producer */
    const struct property *properties; /* passed on to librdkafka */
    size_t n_properties;
    const struct property *files; /* the paths of settings that were given as file:PATH, e.g. of kafka.sasl.password */
    size_t n_files;
    void (*on_log)(int syslog_level, const char *text); /* any thread; may be NULL */
};

/* Makes a handle of every kind with these options, without connecting it. Returns false if librdkafka, or couponsd's
 * own limits, refuse a property or a combination. */
bool kafka_check_options(const struct kafka_options *options, struct err *err);
/* Prints which properties couponsd sets itself and which it limits, with the reasons, as tables in Markdown. */
void kafka_print_properties(FILE *out);
/* Returns true if librdkafka knows this property and accepts the value, and couponsd does not set it. The error never
 * repeats a value that may be secret. */
bool kafka_check_property(const char *name, const char *value, struct err *err);

/* --- names --- */

/* Writes a topic's name: the prefix, then e.g. "outside.coupon.publish.requested.v1". `coupon_id` is 0 for the shared
 * topic. A coupon's own topic always has version 1, whatever `version` is. */
void kafka_topic_name(const struct kafka_options *options, enum stream stream, int version, int64_t coupon_id,
                      char ret_name[static KAFKA_TOPIC_MAX]);
/* Parses such a name. Returns false for any other name. */
bool kafka_topic_parse(const struct kafka_options *options, const char *name, enum stream *ret_stream, int *ret_version,
                       int64_t *ret_coupon_id);
/* Writes the name of a stream's consumer group: the prefix, then "coupon-issuer" or "coupon-completer". Installations
 * that share a Kafka have different prefixes, so their groups are different too. */
void kafka_group_name(const struct kafka_options *options, enum stream stream, char ret_name[static KAFKA_TOPIC_MAX]);

/* --- administration: any thread; each call blocks for up to its time-out --- */

struct kafka_admin;

bool kafka_admin_new(const struct kafka_options *options, struct kafka_admin **ret_admin, struct err *err);
void kafka_admin_free(struct kafka_admin *admin); /* NULL is fine */

/* Reads the number of a topic's partitions; 0: the topic does not exist. */
bool kafka_topic_partitions(struct kafka_admin *admin, const char *topic, int timeout_ms, int *ret_partitions,
                            struct err *err);
struct kafka_topic {
    enum stream stream;
    int version;
    int64_t coupon_id; /* 0: shared */
    int partitions;
    char name[KAFKA_TOPIC_MAX];
};
/* Lists the topics in Kafka whose names kafka_topic_parse understands. The caller frees the array. */
bool kafka_topic_list(struct kafka_admin *admin, int timeout_ms, struct kafka_topic **ret_topics, size_t *ret_n,
                      struct err *err);
enum kafka_made { KAFKA_MISSING, KAFKA_EXISTED, KAFKA_CREATED };
struct kafka_new_topics {
    size_t n;
    const char *const *name;
    int partitions;        /* of each topic */
    enum kafka_made *made; /* out: n elements, filled on failure too; may be NULL */
};
/* Creates the topics. A topic that exists stays as it is; if all of a few topics do, no right to create is needed.
 * Fails if at least one topic is missing afterwards; *err is about the first of them. */
bool kafka_topic_create(struct kafka_admin *admin, const struct kafka_new_topics *topics, int timeout_ms,
                        struct err *err);
/* Deletes the topics. Ignores topics that do not exist. */
bool kafka_topic_delete(struct kafka_admin *admin, const char *const *topics, size_t n, int timeout_ms,
                        struct err *err);
/* Offsets of a topic's partitions 0 to n_partitions - 1. */
struct kafka_offsets {
    const char *topic;
    int n_partitions;
    /* out: arrays of n_partitions elements; a call needs only those that it fills */
    int64_t *low;  /* the oldest offset */
    int64_t *high; /* the offset that the next message will get */
    int64_t *next; /* the offset that a group has committed; -1: none */
};
/* Fills `low` and `high`. */
bool kafka_topic_ends(struct kafka_admin *admin, const struct kafka_offsets *offsets, int timeout_ms, struct err *err);
/* Fills `next` with the offsets that the group of the completers has committed. */
bool kafka_completed_offsets(struct kafka_admin *admin, const struct kafka_offsets *offsets, int timeout_ms,
                             struct err *err);
/* Counts the partitions of the stream's topics that no member of its group is assigned; -1: unknown, because the group
 * rebalances, or no broker knows the group although it `has_members`: its coordinator may be down. */
bool kafka_group_unassigned(struct kafka_admin *admin, enum stream stream, bool has_members, int timeout_ms,
                            int *ret_unassigned, struct err *err);

/* --- failures --- */

/* What librdkafka reports of a message, or of a client as a whole. */
struct kafka_failure {
    struct err err;      /* its text has the topic, if one is concerned */
    const char *name;    /* Kafka's name of the error, e.g. TOPIC_AUTHORIZATION_FAILED; static */
    bool is_too_large;   /* the broker takes only smaller messages or batches */
    bool is_out_of_time; /* the broker refuses the message's timestamp */
};

/* --- producing --- */

struct kafka_producer;

/* How a producer reports to its owner, and how it sends. The functions run within kafka_producer_poll. */
struct kafka_acks {
    /* Called once per message. `failure` is NULL if Kafka has acknowledged it. */
    void (*on_ack)(void *arg, uintptr_t tag, const struct kafka_failure *failure);
    void (*on_error)(void *arg, const struct kafka_failure *failure); /* no message in particular; may be NULL */
    void *arg;
    int wake_fd;     /* an eventfd; the producer writes to it when the owner should poll */
    int batch_bytes; /* the greatest size of a request's messages to one partition; 0: librdkafka's default */
    /* Stamp messages by this machine's clock, instead of by Postgres's clock when the event was appended. */
    bool own_clock;
};
bool kafka_producer_new(const struct kafka_options *options, enum stream stream, const struct kafka_acks *acks,
                        struct kafka_producer **ret_producer, struct err *err);
/* Drops messages that are not yet acknowledged, without calling on_ack for them. NULL is fine. */
void kafka_producer_free(struct kafka_producer *producer);
/* True if the coupon's own topic is open. */
bool kafka_producer_has_topic(const struct kafka_producer *producer, int64_t coupon_id);
/* Opens the coupon's own topic, which must exist in Kafka. */
bool kafka_producer_open_topic(struct kafka_producer *producer, int64_t coupon_id);
/* Sends the entry to the shared topic of this version, or to the coupon's own topic if `version` is 0. The topic must
 * exist. Copies the entry. Fails with ERR_UNAVAILABLE if the queue is full (try again after a poll), and with another
 * code if the entry can't be sent. */
bool kafka_produce(struct kafka_producer *producer, const struct outbox_entry *entry, int version, uintptr_t tag,
                   struct err *err);
void kafka_producer_poll(struct kafka_producer *producer);
/* True after an error that no retry can repair. The owner then frees the producer and makes a new one. */
bool kafka_producer_is_fatal(struct kafka_producer *producer, struct kafka_failure *ret_failure);
/* Waits up to timeout_ms for all acknowledgements. Returns true if all have arrived. */
bool kafka_producer_flush(struct kafka_producer *producer, int timeout_ms);

/* --- consuming --- */

struct kafka_consumer;

/* In places that a consumer returns, the topic's name lives as long as the consumer, and is the same pointer for the
 * same topic. */
struct kafka_place {
    const char *topic;
    int32_t partition;
};
/* Compares by topic, then by partition: negative, 0 or positive. */
int kafka_place_compare(const struct kafka_place *a, const struct kafka_place *b);

struct kafka_message {
    struct kafka_place place;
    int64_t offset;
    /* How many offsets directly below this one hold no message: the markers of transactions, and compacted messages.
     * The broker may also have deleted messages there (kafka_ends tells). 0 if that is unproven. */
    int64_t hole;
    const void *key, *value;
    size_t key_len, value_len;
    void *handle;
};

/* What a group's members in this process share with a thread that watches the group. */
struct kafka_group {
    atomic_uint assignments; /* how often a member was assigned its places */
    /* Increment it, and the members look for topics and join again, so that the group assigns all places anew. */
    atomic_uint rejoins;
};

struct kafka_consumer_events {
    void *arg;
    struct kafka_group *group; /* may be NULL */
    /* The consumer is now assigned exactly these places. Sets ret_start[i], the offset to start from; if it returns
     * false, the consumer starts from the offsets that were committed to Kafka. Runs within kafka_consume. May be
     * NULL. */
    bool (*on_assign)(void *arg, const struct kafka_place *places, int64_t *ret_start, size_t n);
    /* The consumer is no longer assigned any place. Runs within kafka_consume or kafka_consumer_free. May be NULL. */
    void (*on_revoke)(void *arg);
    /* The consumer reports an error; it goes on by itself. Runs within kafka_consume. May be NULL. */
    void (*on_error)(void *arg, const struct kafka_failure *failure);
};

/* Makes a consumer of every topic of the stream: all versions of the shared topic, and coupons' own topics. It finds a
 * new topic when it next refreshes its metadata: within 5 s, or 2 s if has_coupon_topics. `group` is NULL for the
 * stream's own group, or the name of another group, which gets all messages again. */
bool kafka_consumer_new(const struct kafka_options *options, enum stream stream, const char *group,
                        const struct kafka_consumer_events *events, struct kafka_consumer **ret_consumer,
                        struct err *err);
/* Leaves the group, after an attempt to commit the offsets that kafka_commit has recorded. NULL is fine. */
void kafka_consumer_free(struct kafka_consumer *consumer);
/* Waits up to wait_ms for a first message, then takes the messages that have arrived: up to `max`, or fewer if their
 * values exceed 16 MiB. Returns how many. The caller releases them together.
 *
 * Holes: librdkafka reads a place in one go and skips no message there, so a jump between two messages is a hole. It
 * has lost messages around seeks and rebalances, though. If the first message after one of these jumps, the hole counts
 * as proven when a seek to the same offset leads to the same message again. */
size_t kafka_consume(struct kafka_consumer *consumer, int wait_ms, struct kafka_message *messages, size_t max);
void kafka_release(struct kafka_message *messages, size_t n);
/* Returns the last value of a header, or NULL if there is none. Valid until the message is released. Decoding the
 * headers costs more than the rest of a message does, so ask only if it matters. */
const char *kafka_header(const struct kafka_message *message, const char *name, size_t *ret_len);
/* Asks Kafka for each place's oldest offset, and for the offset that its next message will get; -1: unknown. May be
 * called within on_assign. Fails if no offset is known. `ret_high` may be NULL. */
bool kafka_ends(struct kafka_consumer *consumer, const struct kafka_place *places, size_t n, int64_t *ret_low,
                int64_t *ret_high, struct err *err);
/* Offsets that hold no message, at the end of a place. */
struct kafka_end_hole {
    int64_t from, to; /* `to` is the offset that the next message will get; equal: there is no hole */
    bool is_proven;   /* if not, seek to `from`: the consumer then looks a second time */
};
struct kafka_end_hole kafka_end_hole(struct kafka_consumer *consumer, const struct kafka_place *place);
/* The caller has moved its offset over the proven hole at the end; a later message has no hole below it. */
void kafka_pass_end_hole(struct kafka_consumer *consumer, const struct kafka_place *place);
/* Reads each place's position: the offset after the last message that kafka_consume returned, or the offset of the last
 * seek; -1: unknown. */
void kafka_positions(struct kafka_consumer *consumer, const struct kafka_place *places, size_t n, int64_t *ret_next);
/* Reads the offset that each place's next message will get, as of librdkafka's last reading; -1: unknown. */
void kafka_cached_ends(struct kafka_consumer *consumer, const struct kafka_place *places, size_t n, int64_t *ret_high);
/* Moves all places to these offsets by one request. */
bool kafka_seek(struct kafka_consumer *consumer, const struct kafka_place *places, const int64_t *offsets, size_t n,
                struct err *err);
/* Stops or continues the delivery of messages. The consumer stays in the group while its owner calls kafka_consume. */
void kafka_pause(struct kafka_consumer *consumer, bool pause);
/* Records that all messages below next_offset are processed. kafka_consume commits the offset to Kafka without waiting,
 * and repeats that until Kafka has acknowledged it. If the reading goes back, by a seek or because the log has, the
 * lower offset is committed. */
void kafka_commit(struct kafka_consumer *consumer, const struct kafka_place *place, int64_t next_offset);
/* The number of messages in the assigned places that kafka_consume has not returned yet, by librdkafka's latest
 * knowledge. */
int64_t kafka_consumer_lag(struct kafka_consumer *consumer);

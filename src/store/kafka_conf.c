/* SPDX-License-Identifier: Apache-2.0 */
/* The parts that producer, consumer and admin share: names of topics and groups, the configuration of librdkafka, its
 * errors, offsets, and the end of a handle. */
#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"
#include "store/kafka_internal.h"

#define REFRESH "topic.metadata.refresh.interval.ms"
/* Consumers find new topics within this time: a subscription to a pattern asks for all topics of the broker each time.
 * Without coupons' own topics, a new one only comes with a migration. */
#define FIND_TOPICS_MS     "5000"

#define DESTROY_TIMEOUT_US (2 * US_PER_S)
/* The pause before asking again for a partition without a leader. A new topic gets its leaders within a moment. */
#define LEADER_RETRY_US (50 * US_PER_MS)

static const char *const bases[STREAMS] = {"outside.coupon.publish.requested", "inside.coupon.published"};

void kafka_topic_name(const struct kafka_options *options, enum stream stream, int version, int64_t coupon_id,
                      char ret_name[static KAFKA_TOPIC_MAX]) {
    if (coupon_id)
        snprintf(ret_name, KAFKA_TOPIC_MAX, "%s%s.v1.%lld", options->topic_prefix, bases[stream], (long long)coupon_id);
    else
        snprintf(ret_name, KAFKA_TOPIC_MAX, "%s%s.v%d", options->topic_prefix, bases[stream], version);
}

/* Reads a positive number and moves *at past it. */
static bool read_number(const char **at, int64_t *ret) {
    char *end;
    if (!isdigit((unsigned char)**at) || **at == '0')
        return false;
    *ret = strtoll(*at, &end, 10);
    bool ok = end - *at <= 19;
    *at = end;
    return ok;
}

bool kafka_topic_parse(const struct kafka_options *options, const char *name, enum stream *ret_stream, int *ret_version,
                       int64_t *ret_coupon_id) {
    size_t prefix_len = strlen(options->topic_prefix);
    if (strncmp(name, options->topic_prefix, prefix_len) != 0)
        return false;
    name += prefix_len;
    for (int stream = 0; stream < STREAMS; stream++) {
        size_t len = strlen(bases[stream]);
        if (strncmp(name, bases[stream], len) != 0 || strncmp(name + len, ".v", 2) != 0)
            continue;
        const char *at = name + len + 2;
        int64_t version, coupon_id = 0;
        if (!read_number(&at, &version) || version > INT32_MAX ||
            (*at == '.' && (at++, version != 1 || !read_number(&at, &coupon_id))) || *at)
            return false;
        *ret_stream = (enum stream)stream;
        *ret_version = (int)version;
        *ret_coupon_id = coupon_id;
        return true;
    }
    return false;
}

void kafka_group_name(const struct kafka_options *options, enum stream stream, char ret_name[static KAFKA_TOPIC_MAX]) {
    static const char *const groups[STREAMS] = {"coupon-issuer", "coupon-completer"};
    snprintf(ret_name, KAFKA_TOPIC_MAX, "%s%s", options->topic_prefix, groups[stream]);
}

static size_t escape(char *out, const char *text) {
    size_t len = 0;
    for (; *text; text++) {
        if (*text == '.')
            out[len++] = '\\';
        out[len++] = *text;
    }
    out[len] = 0;
    return len;
}

void kafka_topic_pattern(const struct kafka_options *options, enum stream stream,
                         char ret_pattern[static 2 * KAFKA_TOPIC_MAX]) {
    size_t len = 0;
    ret_pattern[len++] = '^'; /* librdkafka recognizes a pattern by this */
    len += escape(ret_pattern + len, options->topic_prefix);
    len += escape(ret_pattern + len, bases[stream]);
    snprintf(ret_pattern + len, 2 * KAFKA_TOPIC_MAX - len, "\\.v(1\\.)?[1-9][0-9]*$");
}

int kafka_place_compare(const struct kafka_place *a, const struct kafka_place *b) {
    if (a->topic != b->topic) {
        int order = strcmp(a->topic, b->topic);
        if (order)
            return order;
    }
    return a->partition < b->partition ? -1 : a->partition > b->partition;
}

/* --- configuration --- */

/* True if the property's value may be secret and so must not be shown. */
static bool may_be_secret(const char *name) {
    static const char *const signs[] = {"password", "secret", "key", "token", "pem", "jaas", "credential", "config"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (strcasestr(name, signs[i]))
            return true;
    return false;
}

bool kafka_set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *err) {
    char text[256];
    switch (rd_kafka_conf_set(conf, key, value, text, sizeof text)) {
    case RD_KAFKA_CONF_OK:
        return true;
    case RD_KAFKA_CONF_UNKNOWN:
        return err_set(err, ERR_NOT_FOUND, BACKEND_KAFKA, "librdkafka has no property %.80s", key);
    default:
        return err_set(err, ERR_INVALID, BACKEND_KAFKA, "librdkafka refuses this value of %.80s%s%s", key,
                       may_be_secret(key) ? "" : ": ", may_be_secret(key) ? "" : text);
    }
}

static void forward_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    const struct kafka_options *options = rd_kafka_opaque(rk);
    (void)facility;
    if (options && options->on_log)
        options->on_log(level, text);
}

bool kafka_common_conf(const struct kafka_options *options, rd_kafka_conf_t *conf, struct err *err) {
    static const char *const settings[][2] = {
        {"client.id", "couponsd"},
        {"socket.nagle.disable", "true"},
        {"socket.keepalive.enable", "true"},
        /* Reconnect to a returning broker within a second. */
        {"reconnect.backoff.ms", "50"},
        {"reconnect.backoff.max.ms", "1000"},
        {"log.connection.close", "false"},
        /* Find new partitions within this time. */
        {REFRESH, "500"},
        /* Messages to a deleted topic fail after this time; the relay then creates the topic again. */
        {"topic.metadata.propagation.max.ms", "2000"},
        /* The broker would create a topic with its own number of partitions. */
        {"allow.auto.create.topics", "false"},
    };
    rd_kafka_conf_set_log_cb(conf, forward_log);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (!kafka_set(conf, settings[i][0], settings[i][1], err))
            return false;
    for (size_t i = 0; i < options->n_properties; i++) {
        char *value = kafka_value_of(options, &options->properties[i]);
        bool ok = kafka_set(conf, options->properties[i].name, value, err);
        free(value);
        if (!ok)
            return false;
    }
    return !options->brokers || kafka_set(conf, "bootstrap.servers", options->brokers, err);
}

const struct property *kafka_property_of(const struct kafka_options *options, const char *name) {
    for (size_t i = 0; i < options->n_properties; i++)
        if (strcmp(options->properties[i].name, name) == 0)
            return &options->properties[i];
    return NULL;
}

bool kafka_reader_conf(const struct kafka_options *options, rd_kafka_conf_t *conf, struct err *err) {
    /* A transaction that another program leaves open would hide all later messages of its partition. Reading too
     * much is harmless: the ledger decides about an event, no matter which program sent it. */
    return kafka_common_conf(options, conf, err) && kafka_set(conf, "isolation.level", "read_uncommitted", err) &&
           (options->has_coupon_topics || kafka_property_of(options, REFRESH) ||
            kafka_set(conf, REFRESH, FIND_TOPICS_MS, err));
}

/* --- errors and offsets --- */

enum err_code kafka_err_code(rd_kafka_resp_err_t error) {
    switch (error) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return ERR_PERMISSION;
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR: /* too few brokers at present, perhaps */
        return ERR_REFUSED;
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
        return ERR_INVALID;
    default:
        return ERR_UNAVAILABLE;
    }
}

struct kafka_failure kafka_failure_of(rd_kafka_resp_err_t error, const char *topic, const char *text) {
    struct kafka_failure failure = {
        .name = rd_kafka_err2name(error),
        .is_too_large = error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
                        error == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE || error == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE,
        .is_out_of_time = error == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
    };
    err_set(&failure.err, kafka_err_code(error), BACKEND_KAFKA, "%s%s%s", topic ? topic : "", topic ? ": " : "",
            text ? text : rd_kafka_err2str(error));
    return failure;
}

/* Asks once. Returns the number of partitions whose offset has arrived. */
static int ask_offsets(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int64_t which, int timeout_ms,
                       rd_kafka_resp_err_t *ret_error) {
    /* RD_KAFKA_OFFSET_BEGINNING and _END are special timestamps, which mean the oldest and the next offset. */
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = which;
    *ret_error = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    int came = 0;
    for (int i = 0; i < list->cnt; i++) {
        /* The answer to a time may be "none", so only an error tells that the offset is unknown. */
        bool ok = !list->elems[i].err && (which < 0 ? list->elems[i].offset >= 0 : !*ret_error);
        came += ok;
        if (!ok)
            list->elems[i].offset = -1;
    }
    return came;
}

bool kafka_list_offsets(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int64_t which, int timeout_ms,
                        struct err *err) {
    int64_t give_up_us = clock_mono_us() + timeout_ms * US_PER_MS;
    rd_kafka_resp_err_t error;
    while (list->cnt && ask_offsets(rk, list, which, timeout_ms, &error) < list->cnt) {
        if (clock_mono_us() >= give_up_us)
            return err_set(err, error ? kafka_err_code(error) : ERR_UNAVAILABLE, BACKEND_KAFKA, "offsets of %s: %s",
                           list->elems[0].topic, error ? rd_kafka_err2str(error) : "a partition has no leader");
        clock_sleep_us(LEADER_RETRY_US);
    }
    return true;
}

/* --- the end of a handle --- */

struct destruction {
    rd_kafka_t *rk;
    atomic_bool done; /* one of the two threads has finished with this struct; the other frees it */
};

static void *destroy(void *arg) {
    struct destruction *destruction = arg;
    rd_kafka_destroy_flags(destruction->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (atomic_exchange(&destruction->done, true))
        free(destruction);
    return NULL;
}

bool kafka_destroy(rd_kafka_t *rk) {
    struct destruction *destruction = memory_new(1, sizeof *destruction);
    pthread_t thread;
    destruction->rk = rk;
    if (pthread_create(&thread, NULL, destroy, destruction)) {
        free(destruction); /* the system has no room for another thread; the handle stays */
        return false;
    }
    pthread_detach(thread);
    int64_t give_up_us = clock_mono_us() + DESTROY_TIMEOUT_US;
    while (!atomic_load(&destruction->done) && clock_mono_us() < give_up_us)
        clock_sleep_us(US_PER_MS);
    bool done = atomic_exchange(&destruction->done, true);
    if (done)
        free(destruction);
    return done;
}

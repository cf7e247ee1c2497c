/* SPDX-License-Identifier: Apache-2.0 */
/* The ceiling that librdkafka sets for couponsd's relay: produces messages like the relay's and does nothing else. It
 * also creates the topics that bench.py needs.
 *
 *   bench_bare_producer BROKERS produce TOPIC [--messages N] [--coupons K]     as fast as possible; prints JSON
 *   bench_bare_producer BROKERS create TOPIC PARTITIONS [NAME=VALUE...]        with these properties
 *
 * Message i has the key of coupon i % K, the headers that kafka_producer.c sets, and a value as large as an event. The
 * producer is idempotent, with acks=all. The time runs from the first message to the last acknowledgement. */
#include <getopt.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"

#define MESSAGES     200000
#define FIRST_COUPON INT64_C(1000000001) /* as many digits as the ids of bench.py */
#define PAYLOAD      60
#define POLL_EVERY   1000 /* messages between two polls for acknowledgements */
#define WARM_SHARE   10   /* the warm-up sends 1/WARM_SHARE of the messages first, untimed */
#define TIMEOUT_MS   20000

static int64_t n_acked;

static void fail(const char *what, const char *why) {
    fprintf(stderr, "bench_bare_producer: %s: %s\n", what, why);
    exit(1);
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
    (void)rk;
    (void)opaque;
    if (message->err)
        fail("producing", rd_kafka_err2str(message->err));
    n_acked++;
}

static rd_kafka_t *connect_to(const char *brokers) {
    static const char *const settings[][2] = {
        {"enable.idempotence", "true"},
        {"acks", "all"},
        {"partitioner", "murmur2_random"},
        {"compression.type", "none"},
        {"socket.nagle.disable", "true"},
        /* As relay.in_flight_max. More messages are slower, because they fall out of the CPU's caches. */
        {"queue.buffering.max.messages", "20000"},
    };
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text))
            fail(settings[i][0], text);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text))
        fail(brokers, text);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!rk)
        fail(brokers, text);
    return rk;
}

/* --- topics --- */

static void create(rd_kafka_t *rk, const char *topic, int partitions, char *const *properties, int n) {
    char text[256];
    rd_kafka_NewTopic_t *new = rd_kafka_NewTopic_new(topic, partitions, 1, text, sizeof text);
    if (!new)
        fail(topic, text);
    for (int i = 0; i < n; i++) {
        char *value = strchr(properties[i], '=');
        if (!value)
            fail(properties[i], "not NAME=VALUE");
        *value++ = 0;
        rd_kafka_NewTopic_set_config(new, properties[i], value);
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, &new, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
    if (!event || rd_kafka_event_error(event))
        fail(topic, event ? rd_kafka_event_error_string(event) : "no answer");
    size_t n_results;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n_results);
    for (size_t i = 0; i < n_results; i++)
        if (rd_kafka_topic_result_error(results[i]))
            fail(topic, rd_kafka_topic_result_error_string(results[i]));
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(new);
}

/* --- producing --- */

static void add_header(rd_kafka_headers_t *headers, const char *name, const char *value) {
    rd_kafka_header_add(headers, name, -1, value, -1);
}

/* The same headers as headers_of in kafka_producer.c makes. */
static rd_kafka_headers_t *headers_of(int64_t coupon_id, int64_t ticket) {
    char id[48];
    snprintf(id, sizeof id, "%" PRId64 "-%" PRId64, coupon_id, ticket);
    rd_kafka_headers_t *headers = rd_kafka_headers_new(6);
    add_header(headers, "ce_specversion", "1.0");
    add_header(headers, "ce_id", id);
    add_header(headers, "ce_type", "coupon.v1.PublishRequested");
    add_header(headers, "ce_source", "/couponsd");
    add_header(headers, "content-type", "application/protobuf");
    return headers;
}

static void produce_one(rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t coupon_id, int64_t ticket) {
    static char payload[PAYLOAD];
    char key[24];
    int key_len = snprintf(key, sizeof key, "%" PRId64, coupon_id);
    for (;;) {
        rd_kafka_headers_t *headers = headers_of(coupon_id, ticket);
        rd_kafka_resp_err_t error = __extension__ rd_kafka_producev(
            rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, (size_t)key_len),
            RD_KAFKA_V_VALUE(payload, sizeof payload), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        if (!error)
            return;
        rd_kafka_headers_destroy(headers);
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            fail("producing", rd_kafka_err2str(error));
        rd_kafka_poll(rk, 1);
    }
}

static void produce_all(rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t messages, int64_t coupons) {
    n_acked = 0;
    for (int64_t i = 0; i < messages; i++) {
        if (i % POLL_EVERY == 0)
            rd_kafka_poll(rk, 0);
        produce_one(rk, topic, FIRST_COUPON + i % coupons, 1 + i / coupons);
    }
    while (n_acked < messages)
        rd_kafka_poll(rk, 100);
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / US_PER_S;
}

static void produce(rd_kafka_t *rk, const char *name, int64_t messages, int64_t coupons) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    if (!topic)
        fail(name, rd_kafka_err2str(rd_kafka_last_error()));
    /* The warm-up finds the topic's leaders and creates its files, as the relay has done before its timed part. */
    produce_all(rk, topic, messages / WARM_SHARE + coupons, coupons);
    double cpu = cpu_seconds();
    int64_t begin_us = clock_mono_us();
    produce_all(rk, topic, messages, coupons);
    double seconds = (double)(clock_mono_us() - begin_us) / US_PER_S;
    printf("{\"rows\":%" PRId64 ",\"seconds\":%.6f,\"per_s\":%.0f,\"cpu_s\":%.3f}\n", messages, seconds,
           (double)messages / seconds, cpu_seconds() - cpu);
    rd_kafka_topic_destroy(topic);
}

/* --- the program --- */

static int usage(const char *program) {
    fprintf(stderr,
            "usage: %s BROKERS produce TOPIC [--messages N] [--coupons K]\n"
            "       %s BROKERS create TOPIC PARTITIONS [NAME=VALUE...]\n",
            program, program);
    return 2;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"messages", required_argument, NULL, 'm'},
        {"coupons", required_argument, NULL, 'c'},
        {0},
    };
    int64_t messages = MESSAGES, coupons = 1;
    bool ok = true;
    for (int option; ok && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int64_t number = option == '?' ? 0 : strtoll(optarg, NULL, 10);
        ok = number > 0;
        *(option == 'm' ? &messages : &coupons) = number;
    }
    char *const *words = argv + optind;
    int n = argc - optind;
    bool is_produce = ok && n == 3 && strcmp(words[1], "produce") == 0;
    if (!is_produce && !(ok && n >= 4 && strcmp(words[1], "create") == 0))
        return usage(argv[0]);
    rd_kafka_t *rk = connect_to(words[0]);
    if (is_produce)
        produce(rk, words[2], messages, coupons);
    else
        create(rk, words[2], (int)strtol(words[3], NULL, 10), words + 4, n - 4);
    rd_kafka_destroy(rk);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/murmur2.h"
#include "mock_kafka.h"

#define TAGS_MAX   16
#define FLUSH_MS   20000
#define PARTITIONS 3

static struct mock_kafka mock;
static struct kafka_producer *producer;
static struct kafka_acks acks;
static struct {
    int acked, failed;
    struct kafka_failure failure;
} by_tag[TAGS_MAX];
static int errors;

static void on_ack(void *arg, uintptr_t tag, const struct kafka_failure *failure) {
    cr_assert_eq(arg, &acks);
    cr_assert_lt(tag, TAGS_MAX);
    by_tag[tag].acked += !failure;
    by_tag[tag].failed += failure != NULL;
    if (failure)
        by_tag[tag].failure = *failure;
}

static void on_error(void *arg, const struct kafka_failure *failure) {
    cr_assert_eq(arg, &acks);
    cr_expect_eq(failure->err.backend, BACKEND_KAFKA);
    errors++;
}

static void set_up(void) {
    mock_kafka_init(&mock, 1);
    mock_kafka_make_topic(&mock, REQUESTED_V1, PARTITIONS);
    acks = (struct kafka_acks){
        .on_ack = on_ack, .on_error = on_error, .arg = &acks, .wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
}

static void tear_down(void) {
    kafka_producer_free(producer);
    close(acks.wake_fd);
    mock_kafka_deinit(&mock);
}

TestSuite(kafka_producer, .init = set_up, .fini = tear_down, .timeout = 60);

static void make(void) {
    struct err err = {0};
    bool ok = kafka_producer_new(&mock.options, STREAM_REQUESTED, &acks, &producer, &err);
    cr_assert(ok, "%s", err.text);
}

static struct outbox_entry entry_of(int64_t coupon_id, int64_t ticket) {
    return (struct outbox_entry){.coupon_id = coupon_id,
                                 .ticket = ticket,
                                 .append_us = 1700000000123456,
                                 .payload = "payload",
                                 .payload_len = 7};
}

static void produce(int64_t coupon_id, int version, uintptr_t tag) {
    const struct outbox_entry entry = entry_of(coupon_id, 5);
    struct err err = {0};
    bool ok = kafka_produce(producer, &entry, version, tag, &err);
    cr_assert(ok, "%s", err.text);
}

static void await_result(uintptr_t tag) {
    for (int64_t until_us = 0; by_tag[tag].acked + by_tag[tag].failed == 0 && mock_kafka_waits(&until_us);)
        kafka_producer_poll(producer);
}

static void expect_failed(uintptr_t tag, const char *name, enum err_code code) {
    await_result(tag);
    cr_assert_eq(by_tag[tag].failed, 1);
    cr_expect_eq(by_tag[tag].acked, 0);
    cr_expect_str_eq(by_tag[tag].failure.name, name);
    cr_expect_eq(by_tag[tag].failure.err.code, code);
    cr_expect_eq(strncmp(by_tag[tag].failure.err.text, REQUESTED_V1 ": ", sizeof REQUESTED_V1 + 1), 0, "%s",
                 by_tag[tag].failure.err.text);
}

static void fail_next_requests(int n, rd_kafka_resp_err_t error) {
    for (int i = 0; i < n; i++)
        rd_kafka_mock_push_request_errors(mock.cluster, API_PRODUCE, 1, error);
}

/* --- reading back --- */

/* Reads the first message of the topic. */
static rd_kafka_message_t *read_first(rd_kafka_t **ret_reader, const char *topic, int partitions) {
    char text[200];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", mock.options.brokers, text, sizeof text);
    rd_kafka_conf_set(conf, "group.id", "reader", text, sizeof text);
    *ret_reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    cr_assert_not_null(*ret_reader, "%s", text);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = 0;
    rd_kafka_assign(*ret_reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_message_t *message = rd_kafka_consumer_poll(*ret_reader, FLUSH_MS);
    cr_assert_not_null(message);
    cr_assert_eq(message->err, RD_KAFKA_RESP_ERR_NO_ERROR, "%s", rd_kafka_message_errstr(message));
    return message;
}

static void end_reading(rd_kafka_t *reader, rd_kafka_message_t *message) {
    rd_kafka_message_destroy(message);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
}

static void expect_header(const rd_kafka_headers_t *headers, const char *name, const char *expected) {
    const void *value;
    size_t len;
    cr_assert_eq(rd_kafka_header_get_last(headers, name, &value, &len), RD_KAFKA_RESP_ERR_NO_ERROR, "%s", name);
    cr_expect(len == strlen(expected) && memcmp(value, expected, len) == 0, "%s: %.*s", name, (int)len,
              (const char *)value);
}

Test(kafka_producer, a_message_has_the_payload_the_coupons_key_its_time_and_the_headers_of_cloudevents) {
    struct outbox_entry entry = entry_of(42, 5);
    const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    rd_kafka_headers_t *headers;
    rd_kafka_timestamp_type_t type;
    rd_kafka_t *reader;
    make();
    entry.traceparent = trace;
    entry.traceparent_len = strlen(trace);
    cr_assert(kafka_produce(producer, &entry, 1, 3, NULL));
    await_result(3);
    cr_expect_eq(by_tag[3].acked, 1);
    rd_kafka_message_t *message = read_first(&reader, REQUESTED_V1, PARTITIONS);
    cr_expect(message->len == 7 && memcmp(message->payload, "payload", 7) == 0);
    cr_expect(message->key_len == 2 && memcmp(message->key, "42", 2) == 0);
    cr_expect_eq(message->partition, murmur2_slot("42", 2, PARTITIONS), "as Java's partitioner");
    cr_expect_eq(rd_kafka_message_timestamp(message, &type), 1700000000123);
    cr_assert_eq(rd_kafka_message_headers(message, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
    cr_expect_eq(rd_kafka_header_cnt(headers), 6);
    expect_header(headers, "ce_specversion", "1.0");
    expect_header(headers, "ce_id", "42-5");
    expect_header(headers, "ce_type", "coupon.v1.PublishRequested");
    expect_header(headers, "ce_source", "/couponsd");
    expect_header(headers, "content-type", "application/protobuf");
    expect_header(headers, "traceparent", trace);
    end_reading(reader, message);
}

Test(kafka_producer, a_coupons_own_topic_has_no_keys_and_without_a_trace_there_is_no_header_of_it) {
    rd_kafka_headers_t *headers;
    rd_kafka_timestamp_type_t type;
    rd_kafka_t *reader;
    mock_kafka_make_topic(&mock, REQUESTED_V1 ".42", 2);
    acks.own_clock = true;
    make();
    cr_expect_not(kafka_producer_has_topic(producer, 42));
    cr_assert(kafka_producer_open_topic(producer, 42));
    cr_expect(kafka_producer_has_topic(producer, 42));
    int64_t from_ms = clock_wall_us() / US_PER_MS;
    produce(42, 0, 1);
    await_result(1);
    cr_expect_eq(by_tag[1].acked, 1);
    rd_kafka_message_t *message = read_first(&reader, REQUESTED_V1 ".42", 2);
    cr_expect_null(message->key);
    cr_expect_geq(rd_kafka_message_timestamp(message, &type), from_ms, "it is this machine's time");
    cr_assert_eq(rd_kafka_message_headers(message, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
    cr_expect_eq(rd_kafka_header_cnt(headers), 5);
    end_reading(reader, message);
}

/* --- acknowledgements --- */

Test(kafka_producer, each_message_is_acknowledged_once_and_the_owner_is_woken) {
    uint64_t count;
    make();
    for (uintptr_t tag = 0; tag < TAGS_MAX; tag++)
        produce((int64_t)tag + 1, 1, tag);
    struct pollfd wake = {.fd = acks.wake_fd, .events = POLLIN};
    cr_assert_eq(poll(&wake, 1, FLUSH_MS), 1);
    cr_expect_eq(read(acks.wake_fd, &count, sizeof count), (ssize_t)sizeof count);
    struct kafka_failure failure;
    cr_assert(kafka_producer_flush(producer, FLUSH_MS));
    kafka_producer_poll(producer);
    cr_expect_not(kafka_producer_is_fatal(producer, &failure));
    for (uintptr_t tag = 0; tag < TAGS_MAX; tag++) {
        cr_expect_eq(by_tag[tag].acked, 1);
        cr_expect_eq(by_tag[tag].failed, 0);
    }
}

Test(kafka_producer, a_message_without_the_right_to_write_fails_and_later_ones_are_sent_when_there_is_the_right) {
    const struct outbox_entry entry = entry_of(1, 5);
    make();
    fail_next_requests(1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    produce(1, 1, 0);
    expect_failed(0, "TOPIC_AUTHORIZATION_FAILED", ERR_PERMISSION);
    cr_expect_not(by_tag[0].failure.is_too_large || by_tag[0].failure.is_out_of_time);
    /* librdkafka refuses the topic until it has asked for it again. */
    for (int64_t until_us = 0; !kafka_produce(producer, &entry, 1, 1, NULL) && mock_kafka_waits(&until_us);)
        kafka_producer_poll(producer);
    await_result(1);
    cr_expect_eq(by_tag[1].acked, 1);
}

Test(kafka_producer, a_message_that_is_too_large_for_the_broker_says_so) {
    make();
    fail_next_requests(1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    produce(1, 1, 0);
    expect_failed(0, "MSG_SIZE_TOO_LARGE", ERR_UNAVAILABLE);
    cr_expect(by_tag[0].failure.is_too_large);
    cr_expect_not(by_tag[0].failure.is_out_of_time);
}

Test(kafka_producer, a_message_whose_time_the_broker_refuses_says_so) {
    make();
    fail_next_requests(1, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP);
    produce(1, 1, 0);
    expect_failed(0, "INVALID_TIMESTAMP", ERR_UNAVAILABLE);
    cr_expect(by_tag[0].failure.is_out_of_time);
    cr_expect_not(by_tag[0].failure.is_too_large);
}

Test(kafka_producer, too_few_replicas_only_delay_a_message) {
    make();
    fail_next_requests(3, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
    produce(1, 1, 0);
    await_result(0);
    cr_expect_eq(by_tag[0].acked, 1);
    cr_expect_eq(by_tag[0].failed, 0);
}

Test(kafka_producer, a_message_waits_for_the_broker_and_an_error_is_reported_meanwhile) {
    make();
    produce(1, 1, 0);
    await_result(0);
    rd_kafka_mock_broker_set_down(mock.cluster, -1);
    produce(1, 1, 1);
    for (int64_t until_us = 0; !errors && mock_kafka_waits(&until_us);)
        kafka_producer_poll(producer);
    cr_expect_not(kafka_producer_flush(producer, 1));
    cr_expect_eq(by_tag[1].acked + by_tag[1].failed, 0);
    rd_kafka_mock_broker_set_up(mock.cluster, -1);
    await_result(1);
    cr_expect_eq(by_tag[1].acked, 1);
    cr_expect_eq(by_tag[0].acked, 1);
}

Test(kafka_producer, a_message_to_a_topic_that_is_gone_fails) {
    char name[] = "topic.metadata.propagation.max.ms", value[] = "100";
    const struct property quick = {name, value};
    mock.options.properties = &quick;
    mock.options.n_properties = 1;
    make();
    rd_kafka_mock_topic_set_error(mock.cluster, REQUESTED_V1, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    produce(1, 1, 0);
    await_result(0);
    cr_assert_eq(by_tag[0].failed, 1);
    cr_expect(strstr(by_tag[0].failure.name, "UNKNOWN_TOPIC"), "%s", by_tag[0].failure.name);
}

/* --- refusals --- */

Test(kafka_producer, more_messages_than_may_be_in_flight_have_to_wait) {
    const struct outbox_entry entry = entry_of(1, 1);
    struct err err = {0};
    mock.options.in_flight_max = 2;
    make();
    produce(1, 1, 0);
    produce(1, 1, 1);
    cr_assert_not(kafka_produce(producer, &entry, 1, 2, &err));
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    await_result(0);
    await_result(1);
    produce(1, 1, 2);
    await_result(2);
    cr_expect_eq(by_tag[2].acked, 1);
}

Test(kafka_producer, a_message_larger_than_any_request_is_refused) {
    static const char large[2000000];
    struct outbox_entry entry = entry_of(1, 1);
    struct err err = {0};
    make();
    entry.payload = large;
    entry.payload_len = sizeof large;
    cr_assert_not(kafka_produce(producer, &entry, 1, 0, &err));
    cr_expect_eq(err.code, ERR_REFUSED);
    cr_expect_eq(err.backend, BACKEND_KAFKA);
}

Test(kafka_producer, without_the_right_to_an_id_it_is_lost_for_good) {
    struct kafka_failure failure;
    rd_kafka_mock_push_request_errors(mock.cluster, API_INIT_PRODUCER_ID, 1,
                                      RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
    make();
    for (int64_t until_us = 0; !kafka_producer_is_fatal(producer, &failure) && mock_kafka_waits(&until_us);)
        kafka_producer_poll(producer);
    cr_expect_str_eq(failure.name, "CLUSTER_AUTHORIZATION_FAILED");
    cr_expect_eq(failure.err.code, ERR_PERMISSION);
    cr_expect_eq(errors, 0, "is_fatal tells it, and on_error does not");
}

/* --- set-up and end --- */

Test(kafka_producer, it_keeps_any_number_of_topics_open) {
    make();
    for (int64_t id = 1; id <= 100; id++)
        cr_assert(kafka_producer_open_topic(producer, id * 1000003));
    for (int64_t id = 1; id <= 100; id++) {
        cr_expect(kafka_producer_has_topic(producer, id * 1000003));
        cr_expect_not(kafka_producer_has_topic(producer, id * 1000003 + 1));
    }
}

Test(kafka_producer, a_free_drops_messages_without_a_call) {
    rd_kafka_mock_broker_set_down(mock.cluster, -1);
    make();
    produce(1, 1, 0);
    kafka_producer_free(producer);
    producer = NULL;
    cr_expect_eq(by_tag[0].acked + by_tag[0].failed, 0);
}

Test(kafka_producer, a_property_that_librdkafka_refuses_is_an_error) {
    char name[] = "linger.ms", value[] = "much";
    const struct property bad = {name, value};
    struct err err = {0};
    mock.options.properties = &bad;
    mock.options.n_properties = 1;
    cr_assert_not(kafka_producer_new(&mock.options, STREAM_REQUESTED, &acks, &producer, &err));
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_null(producer);
}

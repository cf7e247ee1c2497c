/* SPDX-License-Identifier: Apache-2.0 */
/* The mock cluster does not know the times of messages. It takes only the special times that mean the oldest and the
 * next offset, and answers any other with "no message is that new". */
#include "store/kafka_scan.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "mock_kafka.h"

#define TIMEOUT_MS  10000
#define FROM_OLDEST (RD_KAFKA_OFFSET_BEGINNING * (int64_t)US_PER_MS)
#define FROM_END    (RD_KAFKA_OFFSET_END * (int64_t)US_PER_MS)

static struct mock_kafka mock;
static struct kafka_span spans[2];
static char seen[200]; /* "PARTITION:OFFSET=VALUE " of each message */
static int stop_after;

static bool on_message(void *arg, const struct kafka_message *message) {
    cr_assert_eq(arg, seen);
    if (!message)
        return true;
    cr_expect_eq(message->place.topic, spans[0].topic);
    cr_expect(message->key_len == 1 && memcmp(message->key, "k", 1) == 0);
    size_t len = strlen(seen);
    snprintf(seen + len, sizeof seen - len, "%d:%d=%.*s ", (int)message->place.partition, (int)message->offset,
             (int)message->value_len, (const char *)message->value);
    return --stop_after != 0;
}

static struct kafka_scan scan;

static void set_up(void) {
    mock_kafka_init(&mock, 1);
    mock_kafka_make_topic(&mock, REQUESTED_V1, 2);
    for (int i = 0; i < 2; i++)
        spans[i] = (struct kafka_span){.topic = REQUESTED_V1, .partition = i, .low = -9, .end = -9, .next = -9};
    scan = (struct kafka_scan){.spans = spans,
                               .n = 1,
                               .since_us = FROM_OLDEST,
                               .timeout_ms = TIMEOUT_MS,
                               .on_message = on_message,
                               .arg = seen};
}

static void tear_down(void) {
    mock_kafka_deinit(&mock);
}

TestSuite(kafka_scan, .init = set_up, .fini = tear_down, .timeout = 60);

static void run(void) {
    struct err err = {0};
    int64_t from_us = clock_mono_us();
    bool ok = kafka_scan(&mock.options, &scan, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_lt(clock_mono_us() - from_us, TIMEOUT_MS * (int64_t)US_PER_MS, "it ends before its time is over");
}

static void expect_span(int i, int64_t start, int64_t end, int64_t next) {
    cr_expect_eq(spans[i].low, 0);
    cr_expect_eq(spans[i].start, start, "%d starts at %d", i, (int)spans[i].start);
    cr_expect_eq(spans[i].end, end, "%d ends at %d", i, (int)spans[i].end);
    cr_expect_eq(spans[i].next, next, "%d stops at %d", i, (int)spans[i].next);
}

Test(kafka_scan, it_reads_each_partition_to_its_end) {
    scan.n = 2;
    mock_kafka_append(&mock, REQUESTED_V1, 0, "a");
    mock_kafka_append(&mock, REQUESTED_V1, 0, "b");
    mock_kafka_append(&mock, REQUESTED_V1, 1, "c");
    run();
    expect_span(0, 0, 2, 2);
    expect_span(1, 0, 1, 1);
    const char *a = strstr(seen, "0:0=a "), *b = strstr(seen, "0:1=b ");
    cr_expect(a && b && a < b, "%s", seen);
    cr_expect(strstr(seen, "1:0=c "), "%s", seen);
    cr_expect_eq(strlen(seen), 18, "%s", seen);
}

Test(kafka_scan, an_empty_partition_and_no_partition_are_read_at_once) {
    scan.n = 2;
    run();
    expect_span(0, 0, 0, 0);
    expect_span(1, 0, 0, 0);
    scan.n = 0;
    run();
    cr_expect_str_eq(seen, "");
}

Test(kafka_scan, it_reads_only_what_is_new_enough) {
    mock_kafka_append(&mock, REQUESTED_V1, 0, "a");
    scan.since_us = FROM_END;
    run();
    expect_span(0, 1, 1, 1);
    scan.since_us = clock_wall_us();
    run();
    expect_span(0, 1, 1, 1);
    cr_expect_str_eq(seen, "");
}

Test(kafka_scan, offsets_without_a_message_at_the_end_are_read_as_well) {
    mock_kafka_append(&mock, REQUESTED_V1, 0, "a");
    mock_kafka_append_marker(&mock, REQUESTED_V1, 0);
    mock_kafka_append_marker(&mock, REQUESTED_V1, 0);
    run();
    expect_span(0, 0, 3, 3);
    cr_expect_str_eq(seen, "0:0=a ");
}

Test(kafka_scan, it_stops_when_it_is_told_to) {
    mock_kafka_append(&mock, REQUESTED_V1, 0, "a");
    mock_kafka_append(&mock, REQUESTED_V1, 0, "b");
    mock_kafka_append(&mock, REQUESTED_V1, 0, "c");
    stop_after = 2;
    run();
    expect_span(0, 0, 3, 2);
    cr_expect_str_eq(seen, "0:0=a 0:1=b ");
}

/* A partition whose offset is unknown must not count as one without new messages. */
Test(kafka_scan, a_broker_that_does_not_tell_the_offset_of_a_time_is_asked_again) {
    mock_kafka_deinit(&mock);
    mock_kafka_init(&mock, 2);
    mock_kafka_make_topic(&mock, REQUESTED_V1, 2);
    for (int i = 0; i < 2; i++)
        rd_kafka_mock_partition_set_leader(mock.cluster, REQUESTED_V1, i, i + 1);
    mock_kafka_append(&mock, REQUESTED_V1, 0, "a");
    mock_kafka_append(&mock, REQUESTED_V1, 1, "b");
    scan.n = 2;
    for (int i = 0; i < 2; i++) {
        /* The first two requests are about the ends. */
        rd_kafka_mock_broker_push_request_error_rtts(mock.cluster, 2, API_LIST_OFFSETS, 3, RD_KAFKA_RESP_ERR_NO_ERROR,
                                                     0, RD_KAFKA_RESP_ERR_NO_ERROR, 0,
                                                     RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 0);
        run();
        expect_span(0, i, 1, 1);
        expect_span(1, i, 1, 1);
        cr_expect_eq(strlen(seen), 12, "%s", seen);
        scan.since_us = clock_wall_us();
    }
}

Test(kafka_scan, a_topic_that_may_not_be_read_is_an_error_about_rights) {
    struct err err = {0};
    scan.timeout_ms = 300;
    for (int i = 0; i < 20; i++)
        rd_kafka_mock_push_request_errors(mock.cluster, API_LIST_OFFSETS, 1,
                                          RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    cr_assert_not(kafka_scan(&mock.options, &scan, &err));
    cr_expect_eq(err.backend, BACKEND_KAFKA);
    cr_expect(strstr(err.text, "offsets of " REQUESTED_V1 ": "), "%s", err.text);
}

Test(kafka_scan, without_a_broker_it_fails_in_time) {
    struct err err = {0};
    rd_kafka_mock_broker_set_down(mock.cluster, -1);
    scan.timeout_ms = 200;
    cr_assert_not(kafka_scan(&mock.options, &scan, &err));
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_str_eq(seen, "");
}

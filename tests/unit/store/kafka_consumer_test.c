/* SPDX-License-Identifier: Apache-2.0 */
/* The mock cluster waits 3 s before it makes the first assignment of a group, so a test checks several things. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "mock_kafka.h"

#define BATCH 10

static struct mock_kafka mock;
static struct kafka_consumer *consumer;
static struct kafka_consumer_events events;
static struct kafka_message got[BATCH];

/* What the callbacks were called with, and what they answer. */
static struct {
    struct kafka_place places[4];
    size_t n;
    int assigned, revoked, errors;
    bool has_starts;
    int64_t start;
    struct kafka_failure failure;
} calls;

static bool on_assign(void *arg, const struct kafka_place *places, int64_t *ret_start, size_t n) {
    cr_assert_eq(arg, &events);
    cr_assert_leq(n, 4);
    memcpy(calls.places, places, n * sizeof *places);
    calls.n = n;
    calls.assigned++;
    for (size_t i = 0; calls.has_starts && i < n; i++)
        ret_start[i] = calls.start;
    return calls.has_starts;
}

static void on_revoke(void *arg) {
    cr_assert_eq(arg, &events);
    calls.revoked++;
}

static void on_error(void *arg, const struct kafka_failure *failure) {
    cr_assert_eq(arg, &events);
    calls.errors++;
    calls.failure = *failure;
}

static void set_up(void) {
    mock_kafka_init(&mock, 1);
    mock_kafka_make_topic(&mock, REQUESTED_V1, 1);
    events = (struct kafka_consumer_events){
        .arg = &events, .on_assign = on_assign, .on_revoke = on_revoke, .on_error = on_error};
}

static void tear_down(void) {
    kafka_consumer_free(consumer);
    mock_kafka_deinit(&mock);
}

TestSuite(kafka_consumer, .init = set_up, .fini = tear_down, .timeout = 60);

static void append(const char *value) {
    mock_kafka_append(&mock, REQUESTED_V1, 0, value);
}

static void append_marker(void) {
    mock_kafka_append_marker(&mock, REQUESTED_V1, 0);
}

static void make(const char *group) {
    struct err err = {0};
    bool ok = kafka_consumer_new(&mock.options, STREAM_REQUESTED, group, &events, &consumer, &err);
    cr_assert(ok, "%s", err.text);
}

static size_t consume(size_t max) {
    return kafka_consume(consumer, 10, got, max);
}

/* Consumes until the consumer has its places. No message has arrived by then. */
static void await_assignment(void) {
    for (int64_t until_us = 0; !calls.assigned && mock_kafka_waits(&until_us);)
        cr_assert_eq(consume(BATCH), 0);
}

/* Consumes until a message arrives, and expects it to be this one. */
static void expect_next(int64_t offset, const char *value, int64_t hole) {
    size_t n = 0;
    for (int64_t until_us = 0; n == 0 && mock_kafka_waits(&until_us);)
        n = consume(1);
    cr_assert_eq(n, 1);
    cr_expect_str_eq(got[0].place.topic, REQUESTED_V1);
    cr_expect_eq(got[0].place.partition, 0);
    cr_expect_eq(got[0].offset, offset, "offset %d", (int)got[0].offset);
    cr_expect_eq(got[0].hole, hole, "hole %d", (int)got[0].hole);
    cr_expect(got[0].value_len == strlen(value) && memcmp(got[0].value, value, got[0].value_len) == 0);
    cr_expect(got[0].key_len == 1 && memcmp(got[0].key, "k", 1) == 0);
    kafka_release(got, 1);
}

static void expect_position(int64_t expected) {
    int64_t next;
    kafka_positions(consumer, calls.places, 1, &next);
    cr_expect_eq(next, expected, "position %d", (int)next);
}

static void seek(int64_t offset) {
    struct err err = {0};
    bool ok = kafka_seek(consumer, calls.places, &offset, 1, &err);
    cr_assert(ok, "%s", err.text);
}

/* The offset that the stream's group has committed to Kafka. */
static int64_t committed(void) {
    return mock_kafka_committed(&mock, "t-coupon-issuer", REQUESTED_V1, 0);
}

static struct kafka_end_hole await_end_hole(int64_t to) {
    struct kafka_end_hole hole = {0};
    for (int64_t until_us = 0; hole.to != to && mock_kafka_waits(&until_us);) {
        cr_assert_eq(consume(BATCH), 0);
        hole = kafka_end_hole(consumer, &calls.places[0]);
    }
    return hole;
}

/* --- places --- */

Test(kafka_consumer, it_gets_the_topics_of_its_stream_and_is_told_all_places) {
    mock_kafka_make_topic(&mock, "t-outside.coupon.publish.requested.v2", 2);
    mock_kafka_make_topic(&mock, REQUESTED_V1 ".42", 1);
    mock_kafka_make_topic(&mock, PUBLISHED_V1, 1);
    mock_kafka_make_topic(&mock, "outside.coupon.publish.requested.v1", 1);
    make(NULL);
    await_assignment();
    cr_assert_eq(calls.n, 4);
    int v1 = 0, v2 = 0, own = 0;
    for (size_t i = 0; i < calls.n; i++) {
        v1 += strcmp(calls.places[i].topic, REQUESTED_V1) == 0;
        v2 += strcmp(calls.places[i].topic, "t-outside.coupon.publish.requested.v2") == 0;
        own += strcmp(calls.places[i].topic, REQUESTED_V1 ".42") == 0;
    }
    cr_expect(v1 == 1 && v2 == 2 && own == 1);
}

Test(kafka_consumer, its_group_counts_assignments_and_makes_it_join_again) {
    struct kafka_group group = {0};
    events.group = &group;
    make(NULL);
    await_assignment();
    cr_expect_eq(atomic_load(&group.assignments), 1);
    atomic_fetch_add(&group.rejoins, 1);
    for (int64_t until_us = 0; calls.assigned < 2 && mock_kafka_waits(&until_us);)
        cr_assert_eq(consume(BATCH), 0);
    cr_expect_eq(calls.assigned, 2);
    cr_expect_eq(calls.revoked, 1);
    cr_expect_eq(calls.n, 1);
    cr_expect_eq(atomic_load(&group.assignments), 2);
}

/* --- messages --- */

Test(kafka_consumer, messages_arrive_in_order_and_no_more_than_asked_for) {
    const char *const values[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        append(values[i]);
    make(NULL);
    size_t n = 0;
    for (int64_t until_us = 0; n == 0 && mock_kafka_waits(&until_us);)
        n = consume(2);
    for (int64_t until_us = 0; n < 3 && mock_kafka_waits(&until_us);) {
        size_t more = kafka_consume(consumer, 10, got + n, 1);
        cr_assert_leq(more, 1);
        n += more;
    }
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(got[i].offset, i);
        cr_expect_eq(got[i].hole, 0);
        cr_expect_eq(*(const char *)got[i].value, *values[i]);
        cr_expect_eq(got[i].place.topic, got[0].place.topic, "a topic's name is one pointer");
    }
    kafka_release(got, 3);
    expect_position(3);
    append("d");
    for (int64_t until_us = 0; kafka_consumer_lag(consumer) < 1 && mock_kafka_waits(&until_us);)
        ;
    cr_expect_eq(kafka_consumer_lag(consumer), 1);
    expect_next(3, "d", 0);
    cr_expect_eq(kafka_consumer_lag(consumer), 0);
}

Test(kafka_consumer, it_starts_where_its_owner_says_and_seeks) {
    for (char value[2] = "a"; *value <= 'd'; ++*value)
        append(value);
    calls.has_starts = true;
    calls.start = 2;
    make(NULL);
    expect_next(2, "c", 0);
    expect_position(3);
    seek(0);
    expect_position(0);
    expect_next(0, "a", 0);
    expect_next(1, "b", 0);
    seek(3);
    expect_position(3);
    expect_next(3, "d", 0);
}

Test(kafka_consumer, a_pause_holds_messages_back_and_ends) {
    make(NULL);
    await_assignment();
    kafka_pause(consumer, true);
    append("a");
    int64_t from_us = clock_mono_us(), low, high = 0;
    struct err err = {0};
    for (int64_t until_us = 0; high < 1 && mock_kafka_waits(&until_us);)
        cr_assert(kafka_ends(consumer, calls.places, 1, &low, &high, &err), "%s", err.text);
    while (clock_mono_us() - from_us < 300 * US_PER_MS)
        cr_assert_eq(consume(BATCH), 0);
    kafka_pause(consumer, false);
    expect_next(0, "a", 0);
}

Test(kafka_consumer, a_pause_before_the_assignment_holds_as_well) {
    append("a");
    make(NULL);
    kafka_pause(consumer, true);
    await_assignment();
    int64_t from_us = clock_mono_us();
    while (clock_mono_us() - from_us < 300 * US_PER_MS)
        cr_assert_eq(consume(BATCH), 0);
    kafka_pause(consumer, false);
    expect_next(0, "a", 0);
}

Test(kafka_consumer, the_ends_of_a_place_are_those_that_kafka_tells) {
    int64_t low = -5, high = -5;
    struct err err = {0};
    append("a");
    append("b");
    make(NULL);
    await_assignment();
    cr_assert(kafka_ends(consumer, calls.places, 1, &low, &high, &err), "%s", err.text);
    cr_expect_eq(low, 0);
    cr_expect_eq(high, 2);
    low = -5;
    cr_assert(kafka_ends(consumer, calls.places, 1, &low, NULL, &err), "%s", err.text);
    cr_expect_eq(low, 0);
}

/* --- commits --- */

Test(kafka_consumer, a_commit_reaches_kafka_even_if_it_fails_once_and_the_next_consumer_starts_there) {
    append("a");
    append("b");
    append("c");
    rd_kafka_mock_push_request_errors(mock.cluster, API_OFFSET_COMMIT, 1, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
    make(NULL);
    expect_next(0, "a", 0);
    cr_expect_eq(committed(), -1, "only what is recorded is committed");
    kafka_commit(consumer, &calls.places[0], 1);
    for (int64_t until_us = 0; committed() != 1 && mock_kafka_waits(&until_us);) {
        size_t n = consume(BATCH);
        kafka_release(got, n);
    }
    kafka_commit(consumer, &calls.places[0], 2);
    kafka_commit(consumer, &calls.places[0], 1);
    kafka_consumer_free(consumer);
    cr_expect_eq(calls.revoked, 1);
    cr_expect_eq(committed(), 2, "the end commits what is recorded, and a commit never goes back");
    make(NULL);
    expect_next(2, "c", 0);
}

static void await_committed(int64_t expected) {
    for (int64_t until_us = 0; committed() != expected && mock_kafka_waits(&until_us);)
        cr_assert_eq(consume(BATCH), 0);
}

Test(kafka_consumer, a_reading_that_goes_back_takes_the_commit_with_it) {
    append("a");
    append("b");
    make(NULL);
    expect_next(0, "a", 0);
    expect_next(1, "b", 0);
    kafka_commit(consumer, &calls.places[0], 2);
    await_committed(2);
    kafka_pause(consumer, true);
    seek(0);
    await_committed(0);
    kafka_commit(consumer, &calls.places[0], 2); /* late: of messages before the seek */
    kafka_pause(consumer, false);
    expect_next(0, "a", 0);
    kafka_commit(consumer, &calls.places[0], 1);
    kafka_consumer_free(consumer);
    consumer = NULL;
    cr_expect_eq(committed(), 1);
}

Test(kafka_consumer, another_group_gets_all_messages_again) {
    append("a");
    make(NULL);
    expect_next(0, "a", 0);
    kafka_commit(consumer, &calls.places[0], 1);
    kafka_consumer_free(consumer);
    cr_expect_eq(committed(), 1);
    make("again");
    expect_next(0, "a", 0);
    kafka_commit(consumer, &calls.places[0], 1);
}

/* --- holes --- */

Test(kafka_consumer, offsets_without_a_message_between_two_messages_are_a_hole) {
    append("a");
    append_marker();
    append_marker();
    append("b");
    calls.has_starts = true;
    make(NULL);
    expect_next(0, "a", 0);
    expect_next(3, "b", 2);
}

Test(kafka_consumer, a_hole_before_the_first_message_is_proven_by_a_second_look) {
    append_marker();
    append("a");
    calls.has_starts = true;
    make(NULL);
    expect_next(1, "a", 0);
    seek(0);
    expect_next(1, "a", 1);
}

Test(kafka_consumer, a_hole_at_the_end_behind_a_message_is_proven_and_committed_with_it) {
    append("a");
    append_marker();
    calls.has_starts = true;
    make(NULL);
    expect_next(0, "a", 0);
    struct kafka_end_hole hole = await_end_hole(2);
    cr_expect_eq(hole.from, 1);
    cr_expect(hole.is_proven);
    expect_position(1);
    kafka_commit(consumer, &calls.places[0], 1);
    for (int64_t until_us = 0; committed() != 2 && mock_kafka_waits(&until_us);)
        cr_assert_eq(consume(BATCH), 0);
    kafka_pass_end_hole(consumer, &calls.places[0]);
    expect_position(2);
    hole = kafka_end_hole(consumer, &calls.places[0]);
    cr_expect_eq(hole.from, hole.to);
    append("b");
    expect_next(2, "b", 0);
}

Test(kafka_consumer, a_hole_up_to_the_end_without_a_message_needs_a_second_look) {
    append_marker();
    calls.has_starts = true;
    make(NULL);
    struct kafka_end_hole hole = await_end_hole(1);
    cr_expect_eq(hole.from, 0);
    cr_expect_not(hole.is_proven);
    kafka_pass_end_hole(consumer, &calls.places[0]);
    expect_position(0);
    seek(0);
    hole = await_end_hole(1);
    cr_expect_eq(hole.from, 0);
    cr_expect(hole.is_proven);
}

Test(kafka_consumer, a_place_that_is_not_assigned_has_no_position_and_no_commit) {
    const struct kafka_place foreign = {"t-other", 0};
    int64_t next = 5;
    make(NULL);
    kafka_positions(consumer, &foreign, 1, &next);
    cr_expect_eq(next, -1);
    cr_expect_eq(kafka_end_hole(consumer, &foreign).from, -1);
    kafka_commit(consumer, &foreign, 3);
    kafka_pass_end_hole(consumer, &foreign);
    cr_expect_eq(kafka_consumer_lag(consumer), 0);
}

/* --- failures --- */

Test(kafka_consumer, a_group_that_may_not_be_joined_is_reported_and_tried_again) {
    append("a");
    rd_kafka_mock_push_request_errors(mock.cluster, API_FIND_COORDINATOR, 1,
                                      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
    make(NULL);
    for (int64_t until_us = 0; !calls.errors && mock_kafka_waits(&until_us);)
        cr_assert_eq(consume(BATCH), 0);
    cr_expect_str_eq(calls.failure.name, "GROUP_AUTHORIZATION_FAILED");
    cr_expect_eq(calls.failure.err.code, ERR_PERMISSION);
    cr_expect_eq(calls.failure.err.backend, BACKEND_KAFKA);
    expect_next(0, "a", 0);
}

Test(kafka_consumer, messages_arrive_after_an_outage) {
    append("a");
    make(NULL);
    expect_next(0, "a", 0);
    rd_kafka_mock_broker_set_down(mock.cluster, -1);
    int64_t low;
    cr_expect_not(kafka_ends(consumer, calls.places, 1, &low, NULL, NULL));
    rd_kafka_mock_broker_set_up(mock.cluster, -1);
    append("b");
    expect_next(1, "b", 0);
}

Test(kafka_consumer, a_property_that_librdkafka_refuses_is_an_error) {
    char name[] = "session.timeout.ms", value[] = "long";
    const struct property bad = {name, value};
    struct err err = {0};
    mock.options.properties = &bad;
    mock.options.n_properties = 1;
    cr_assert_not(kafka_consumer_new(&mock.options, STREAM_REQUESTED, NULL, &events, &consumer, &err));
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_null(consumer);
}

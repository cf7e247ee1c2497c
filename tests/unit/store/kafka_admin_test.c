/* SPDX-License-Identifier: Apache-2.0 */
/* The mock cluster does not create or delete topics, so these requests are only tested as far as they are not sent, or
 * refused. tests/scenario/topics_test.py has the rest. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "mock_kafka.h"

#define TIMEOUT_MS 10000
#define SHORT_MS   200
#define CREATE_MS  2000 /* librdkafka waits that long for a broker that can create topics */

static struct mock_kafka mock;
static struct kafka_admin *admin;

static void make(void) {
    struct err err = {0};
    bool ok = kafka_admin_new(&mock.options, &admin, &err);
    cr_assert(ok, "%s", err.text);
}

static void set_up(void) {
    mock_kafka_init(&mock, 1);
    make();
}

static void tear_down(void) {
    kafka_admin_free(admin);
    mock_kafka_deinit(&mock);
}

TestSuite(kafka_admin, .init = set_up, .fini = tear_down, .timeout = 60);

static void expect_partitions(const char *topic, int expected) {
    int partitions = -1;
    struct err err = {0};
    bool ok = kafka_topic_partitions(admin, topic, TIMEOUT_MS, &partitions, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_eq(partitions, expected);
}

static void expect_problem(const struct err *err, enum err_code code, const char *begin) {
    cr_expect_eq(err->code, code);
    cr_expect_eq(err->backend, BACKEND_KAFKA);
    cr_expect_eq(strncmp(err->text, begin, strlen(begin)), 0, "%s", err->text);
}

/* --- questions about topics --- */

Test(kafka_admin, a_topic_has_as_many_partitions_as_it_was_made_with) {
    mock_kafka_make_topic(&mock, REQUESTED_V1, 3);
    expect_partitions(REQUESTED_V1, 3);
}

Test(kafka_admin, a_topic_that_does_not_exist_has_no_partitions) {
    rd_kafka_mock_topic_set_error(mock.cluster, REQUESTED_V1, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    expect_partitions(REQUESTED_V1, 0);
}

Test(kafka_admin, a_topic_without_a_leader_exists) {
    mock_kafka_make_topic(&mock, REQUESTED_V1, 2);
    rd_kafka_mock_partition_set_leader(mock.cluster, REQUESTED_V1, 0, -1);
    rd_kafka_mock_partition_set_leader(mock.cluster, REQUESTED_V1, 1, -1);
    expect_partitions(REQUESTED_V1, 2);
}

Test(kafka_admin, a_topic_that_may_not_be_read_is_an_error_about_rights) {
    int partitions = -1;
    struct err err = {0};
    /* As a broker does, the mock reports the error without partitions: librdkafka 2.8 does not survive both. */
    mock_kafka_make_topic(&mock, REQUESTED_V1, 0);
    rd_kafka_mock_topic_set_error(mock.cluster, REQUESTED_V1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    cr_assert_not(kafka_topic_partitions(admin, REQUESTED_V1, TIMEOUT_MS, &partitions, &err));
    expect_problem(&err, ERR_PERMISSION, "topic " REQUESTED_V1 ": ");
    cr_expect_eq(partitions, -1);
}

Test(kafka_admin, a_name_that_no_topic_can_have_is_an_error) {
    char name[600];
    int partitions;
    struct err err = {0};
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cr_assert_not(kafka_topic_partitions(admin, name, TIMEOUT_MS, &partitions, &err));
    expect_problem(&err, ERR_INVALID, "kafka.topic_prefix: xxx");
}

Test(kafka_admin, without_a_broker_a_question_ends_in_time_and_names_the_brokers) {
    int partitions;
    struct kafka_topic *topics;
    size_t n;
    struct err err = {0};
    rd_kafka_mock_broker_set_down(mock.cluster, -1);
    cr_assert_not(kafka_topic_partitions(admin, REQUESTED_V1, SHORT_MS, &partitions, &err));
    expect_problem(&err, ERR_UNAVAILABLE, mock.options.brokers);
    cr_expect(err.retriable);
    err = (struct err){0};
    cr_assert_not(kafka_topic_list(admin, SHORT_MS, &topics, &n, &err));
    expect_problem(&err, ERR_UNAVAILABLE, mock.options.brokers);
}

Test(kafka_admin, refused_credentials_are_the_error_and_not_the_time_out) {
    char names[][30] = {"security.protocol", "sasl.mechanisms", "sasl.username", "sasl.password"};
    char values[][30] = {"sasl_plaintext", "PLAIN", "couponsd", "s3cret"};
    struct property properties[4];
    int partitions;
    struct err err = {0};
    for (int i = 0; i < 4; i++)
        properties[i] = (struct property){names[i], values[i]};
    mock.options.properties = properties;
    mock.options.n_properties = 4;
    kafka_admin_free(admin);
    make();
    for (int64_t until_us = 0; !strstr(err.text, "authentication failed") && mock_kafka_waits(&until_us);)
        cr_assert_not(kafka_topic_partitions(admin, REQUESTED_V1, SHORT_MS, &partitions, &err));
    cr_expect(strstr(err.text, "authentication failed: check kafka.security.protocol"), "%s", err.text);
    cr_expect_null(strstr(err.text, "s3cret"));
    cr_expect(err.retriable);
}

static const struct kafka_topic *find(const struct kafka_topic *topics, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(topics[i].name, name) == 0)
            return &topics[i];
    cr_assert_fail("%s is not listed", name);
    return NULL;
}

Test(kafka_admin, a_list_has_the_topics_of_couponsd_with_this_prefix_and_no_others) {
    struct kafka_topic *topics;
    size_t n;
    struct err err = {0};
    mock_kafka_make_topic(&mock, REQUESTED_V1, 3);
    mock_kafka_make_topic(&mock, REQUESTED_V1 ".42", 2);
    mock_kafka_make_topic(&mock, "t-inside.coupon.published.v2", 1);
    mock_kafka_make_topic(&mock, "inside.coupon.published.v1", 1);
    mock_kafka_make_topic(&mock, "t-orders", 1);
    mock_kafka_make_topic(&mock, PUBLISHED_V1, 1);
    rd_kafka_mock_topic_set_error(mock.cluster, PUBLISHED_V1, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    bool ok = kafka_topic_list(admin, TIMEOUT_MS, &topics, &n, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_eq(n, 3);
    const struct kafka_topic *shared = find(topics, n, REQUESTED_V1);
    cr_expect_eq(shared->stream, STREAM_REQUESTED);
    cr_expect_eq(shared->partitions, 3);
    cr_expect_eq(shared->coupon_id, 0);
    cr_expect_eq(find(topics, n, REQUESTED_V1 ".42")->coupon_id, 42);
    cr_expect_eq(find(topics, n, "t-inside.coupon.published.v2")->version, 2);
    free(topics);
}

/* --- creating and deleting --- */

Test(kafka_admin, topics_that_exist_need_no_request_to_create_them) {
    const char *const names[] = {REQUESTED_V1, PUBLISHED_V1};
    enum kafka_made made[2] = {KAFKA_MISSING, KAFKA_MISSING};
    struct err err = {0};
    mock_kafka_make_topic(&mock, REQUESTED_V1, 1);
    mock_kafka_make_topic(&mock, PUBLISHED_V1, 1);
    const struct kafka_new_topics topics = {.n = 2, .name = names, .partitions = 1, .made = made};
    bool ok = kafka_topic_create(admin, &topics, TIMEOUT_MS, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_eq(made[0], KAFKA_EXISTED);
    cr_expect_eq(made[1], KAFKA_EXISTED);
}

Test(kafka_admin, a_broker_that_does_not_create_a_topic_is_an_error_and_says_which_ones_exist) {
    const char *const names[] = {PUBLISHED_V1, REQUESTED_V1};
    enum kafka_made made[2] = {KAFKA_CREATED, KAFKA_CREATED};
    struct err err = {0};
    mock_kafka_make_topic(&mock, PUBLISHED_V1, 1);
    rd_kafka_mock_topic_set_error(mock.cluster, REQUESTED_V1, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    const struct kafka_new_topics topics = {.n = 2, .name = names, .partitions = 1, .made = made};
    cr_assert_not(kafka_topic_create(admin, &topics, CREATE_MS, &err));
    expect_problem(&err, ERR_UNAVAILABLE, "creating topic " PUBLISHED_V1 ": ");
    cr_expect_eq(made[0], KAFKA_EXISTED);
    cr_expect_eq(made[1], KAFKA_MISSING);
}

Test(kafka_admin, a_number_of_partitions_that_no_topic_can_have_is_an_error) {
    const char *const name = REQUESTED_V1;
    struct err err = {0};
    rd_kafka_mock_topic_set_error(mock.cluster, REQUESTED_V1, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    const struct kafka_new_topics topics = {.n = 1, .name = &name, .partitions = -2};
    cr_assert_not(kafka_topic_create(admin, &topics, TIMEOUT_MS, &err));
    expect_problem(&err, ERR_INVALID, "creating topic " REQUESTED_V1 ": ");
}

Test(kafka_admin, without_a_broker_a_topic_is_neither_created_nor_deleted) {
    const char *const name = REQUESTED_V1;
    enum kafka_made made = KAFKA_CREATED;
    struct err err = {0};
    rd_kafka_mock_broker_set_down(mock.cluster, -1);
    const struct kafka_new_topics topics = {.n = 1, .name = &name, .partitions = 1, .made = &made};
    cr_assert_not(kafka_topic_create(admin, &topics, SHORT_MS, &err));
    expect_problem(&err, ERR_UNAVAILABLE, mock.options.brokers);
    cr_expect_eq(made, KAFKA_MISSING);
    err = (struct err){0};
    cr_assert_not(kafka_topic_delete(admin, &name, 1, SHORT_MS, &err));
    expect_problem(&err, ERR_UNAVAILABLE, "deleting topic " REQUESTED_V1 ": ");
}

Test(kafka_admin, nothing_to_create_or_delete_needs_no_broker) {
    rd_kafka_mock_broker_set_down(mock.cluster, -1);
    cr_expect(kafka_topic_create(admin, &(struct kafka_new_topics){0}, SHORT_MS, NULL));
    cr_expect(kafka_topic_delete(admin, NULL, 0, SHORT_MS, NULL));
}

/* --- offsets --- */

Test(kafka_admin, the_ends_of_a_topic_are_those_of_each_partition) {
    int64_t low[2] = {-5, -5}, high[2] = {-5, -5};
    const struct kafka_offsets offsets = {.topic = REQUESTED_V1, .n_partitions = 2, .low = low, .high = high};
    struct err err = {0};
    mock_kafka_make_topic(&mock, REQUESTED_V1, 2);
    mock_kafka_append(&mock, REQUESTED_V1, 1, "one");
    mock_kafka_append_marker(&mock, REQUESTED_V1, 1);
    bool ok = kafka_topic_ends(admin, &offsets, TIMEOUT_MS, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_eq(low[0], 0);
    cr_expect_eq(low[1], 0);
    cr_expect_eq(high[0], 0);
    cr_expect_eq(high[1], 2);
}

Test(kafka_admin, ends_that_a_broker_does_not_tell_are_asked_for_again) {
    int64_t low[1], high[1] = {-5};
    const struct kafka_offsets offsets = {.topic = REQUESTED_V1, .n_partitions = 1, .low = low, .high = high};
    struct err err = {0};
    mock_kafka_make_topic(&mock, REQUESTED_V1, 1);
    mock_kafka_append(&mock, REQUESTED_V1, 0, "one");
    rd_kafka_mock_push_request_errors(mock.cluster, API_LIST_OFFSETS, 2, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
    bool ok = kafka_topic_ends(admin, &offsets, TIMEOUT_MS, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_eq(high[0], 1);
}

Test(kafka_admin, a_group_without_commits_has_no_offsets) {
    int64_t next[2] = {7, 7};
    const struct kafka_offsets offsets = {.topic = PUBLISHED_V1, .n_partitions = 2, .next = next};
    struct err err = {0};
    mock_kafka_make_topic(&mock, PUBLISHED_V1, 2);
    bool ok = kafka_completed_offsets(admin, &offsets, TIMEOUT_MS, &err);
    cr_assert(ok, "%s", err.text);
    cr_expect_eq(next[0], -1);
    cr_expect_eq(next[1], -1);
}

Test(kafka_admin, a_group_that_may_not_be_read_is_an_error_about_rights) {
    int64_t next[1] = {7};
    const struct kafka_offsets offsets = {.topic = PUBLISHED_V1, .n_partitions = 1, .next = next};
    struct err err = {0};
    mock_kafka_make_topic(&mock, PUBLISHED_V1, 1);
    rd_kafka_mock_push_request_errors(mock.cluster, API_OFFSET_FETCH, 1, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
    cr_assert_not(kafka_completed_offsets(admin, &offsets, TIMEOUT_MS, &err));
    expect_problem(&err, ERR_PERMISSION, mock.options.brokers);
}

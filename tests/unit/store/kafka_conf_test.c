/* SPDX-License-Identifier: Apache-2.0 */
#include "store/kafka_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct kafka_options PLAIN = {.brokers = "127.0.0.1:1", .topic_prefix = ""};
static const struct kafka_options PREFIXED = {.brokers = "127.0.0.1:1", .topic_prefix = "shop.a-"};

/* --- names --- */

static void expect_name(const struct kafka_options *options, enum stream stream, int version, int64_t coupon_id,
                        const char *expected) {
    char name[KAFKA_TOPIC_MAX];
    enum stream got_stream;
    int got_version;
    int64_t got_coupon_id;
    kafka_topic_name(options, stream, version, coupon_id, name);
    cr_expect_str_eq(name, expected);
    cr_assert(kafka_topic_parse(options, expected, &got_stream, &got_version, &got_coupon_id), "%s", expected);
    cr_expect_eq(got_stream, stream);
    cr_expect_eq(got_version, coupon_id ? 1 : version);
    cr_expect_eq(got_coupon_id, coupon_id);
}

Test(kafka_conf, a_topics_name_tells_prefix_stream_version_and_coupon) {
    expect_name(&PLAIN, STREAM_REQUESTED, 1, 0, "outside.coupon.publish.requested.v1");
    expect_name(&PLAIN, STREAM_PUBLISHED, 12, 0, "inside.coupon.published.v12");
    expect_name(&PREFIXED, STREAM_PUBLISHED, 2, 0, "shop.a-inside.coupon.published.v2");
    expect_name(&PREFIXED, STREAM_REQUESTED, 5, 42, "shop.a-outside.coupon.publish.requested.v1.42");
    expect_name(&PLAIN, STREAM_REQUESTED, 1, INT64_MAX, "outside.coupon.publish.requested.v1.9223372036854775807");
}

Test(kafka_conf, a_name_that_is_not_exactly_ours_is_not_parsed) {
    static const char *const foreign[] = {
        "",
        "inside.coupon.published",
        "inside.coupon.published.v",
        "inside.coupon.published.v0",
        "inside.coupon.published.v01",
        "inside.coupon.published.v1x",
        "inside.coupon.published.v-1",
        "inside.coupon.published.v+1",
        "inside.coupon.published.v1.",
        "inside.coupon.published.v1.0",
        "inside.coupon.published.v1.42.1",
        "inside.coupon.published.v2.42",
        "inside.coupon.published.v2147483648",
        "inside.coupon.published.v1.99999999999999999999",
        "Inside.coupon.published.v1",
        "shop.a-inside.coupon.published.v1",
    };
    enum stream stream;
    int version;
    int64_t coupon_id;
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        cr_expect_not(kafka_topic_parse(&PLAIN, foreign[i], &stream, &version, &coupon_id), "%s", foreign[i]);
    cr_expect_not(kafka_topic_parse(&PREFIXED, "inside.coupon.published.v1", &stream, &version, &coupon_id));
}

Test(kafka_conf, a_group_carries_the_prefix_of_the_topics) {
    char name[KAFKA_TOPIC_MAX];
    kafka_group_name(&PLAIN, STREAM_REQUESTED, name);
    cr_assert_str_eq(name, "coupon-issuer");
    kafka_group_name(&PREFIXED, STREAM_PUBLISHED, name);
    cr_assert_str_eq(name, "shop.a-coupon-completer");
}

Test(kafka_conf, a_subscription_matches_the_streams_topics_with_dots_taken_literally) {
    char pattern[2 * KAFKA_TOPIC_MAX];
    kafka_topic_pattern(&PREFIXED, STREAM_PUBLISHED, pattern);
    cr_assert_str_eq(pattern, "^shop\\.a-inside\\.coupon\\.published\\.v(1\\.)?[1-9][0-9]*$");
}

Test(kafka_conf, places_are_ordered_by_topic_and_partition) {
    char same[] = "a";
    const struct kafka_place places[] = {{"a", 1}, {"a", 2}, {"b", 0}};
    cr_expect_lt(kafka_place_compare(&places[0], &places[1]), 0);
    cr_expect_gt(kafka_place_compare(&places[1], &places[0]), 0);
    cr_expect_lt(kafka_place_compare(&places[1], &places[2]), 0);
    cr_expect_gt(kafka_place_compare(&places[2], &places[1]), 0);
    cr_expect_eq(kafka_place_compare(&places[0], &(struct kafka_place){same, 1}), 0);
}

/* --- configuration --- */

Test(kafka_conf, own_settings_and_properties_of_the_user_reach_librdkafka) {
    const struct property properties[] = {{"client.id", "mine"}, {"linger.ms", "7"}};
    struct kafka_options options = PLAIN;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    struct err err = {0};
    char value[100];
    size_t size = sizeof value;
    options.properties = properties;
    options.n_properties = 2;
    cr_assert(kafka_common_conf(&options, conf, &err), "%s", err.text);
    cr_assert_eq(rd_kafka_conf_get(conf, "bootstrap.servers", value, &size), RD_KAFKA_CONF_OK);
    cr_expect_str_eq(value, "127.0.0.1:1");
    size = sizeof value;
    cr_assert_eq(rd_kafka_conf_get(conf, "client.id", value, &size), RD_KAFKA_CONF_OK);
    cr_expect_str_eq(value, "mine", "the user's comes after couponsd's");
    size = sizeof value;
    cr_assert_eq(rd_kafka_conf_get(conf, "topic.metadata.refresh.interval.ms", value, &size), RD_KAFKA_CONF_OK);
    cr_expect_str_eq(value, "500");
    rd_kafka_conf_destroy(conf);
}

static void check_refresh(const struct kafka_options *options, const char *expected) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    struct err err = {0};
    char value[100];
    size_t size = sizeof value;
    cr_assert(kafka_reader_conf(options, conf, &err), "%s", err.text);
    cr_assert_eq(rd_kafka_conf_get(conf, "topic.metadata.refresh.interval.ms", value, &size), RD_KAFKA_CONF_OK);
    cr_expect_str_eq(value, expected);
    rd_kafka_conf_destroy(conf);
}

Test(kafka_conf, consumers_ask_for_all_topics_seldom_unless_coupons_have_topics_of_their_own) {
    const struct property mine = {"topic.metadata.refresh.interval.ms", "3000"};
    struct kafka_options options = PLAIN;
    check_refresh(&options, "5000");
    options.has_coupon_topics = true;
    check_refresh(&options, "500");
    options.has_coupon_topics = false;
    options.properties = &mine;
    options.n_properties = 1;
    check_refresh(&options, "3000");
}

/* --- errors --- */

Test(kafka_conf, an_error_tells_whether_to_try_again) {
    cr_expect_eq(kafka_err_code(RD_KAFKA_RESP_ERR__TRANSPORT), ERR_UNAVAILABLE);
    cr_expect_eq(kafka_err_code(RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION), ERR_UNAVAILABLE);
    cr_expect_eq(kafka_err_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), ERR_PERMISSION);
    cr_expect_eq(kafka_err_code(RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED), ERR_UNAVAILABLE);
    cr_expect_eq(kafka_err_code(RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR), ERR_REFUSED);
    cr_expect_eq(kafka_err_code(RD_KAFKA_RESP_ERR_POLICY_VIOLATION), ERR_INVALID);
}

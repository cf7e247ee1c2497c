/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "store/kafka_internal.h"

static struct err refused(const char *name, const char *value) {
    struct err err = {0};
    cr_expect_not(kafka_check_property(name, value, &err), "%s", name);
    cr_expect_eq(err.backend, BACKEND_KAFKA);
    return err;
}

Test(kafka_properties, a_property_that_librdkafka_knows_is_taken) {
    struct err err = {0};
    cr_expect(kafka_check_property("linger.ms", "5", &err), "%s", err.text);
    cr_expect(kafka_check_property("security.protocol", "sasl_plaintext", &err), "%s", err.text);
    cr_expect(kafka_check_property("sasl.password", "p", &err), "%s", err.text);
}

Test(kafka_properties, a_property_that_couponsd_needs_for_itself_is_refused_with_the_reason) {
    static const char *const own[][2] = {{"bootstrap.servers", "kafka.brokers"},
                                         {"group.id", "kafka.topic_prefix"},
                                         {"acks", "replicas"},
                                         {"enable.idempotence", "order"},
                                         {"partitioner", "contract"},
                                         {"auto.offset.reset", "skipped"},
                                         {"enable.auto.commit", "after the work"},
                                         {"delivery.report.only.error", "acknowledgements"},
                                         {"queuing.strategy", "order"},
                                         {"log.queue", "nobody reads"},
                                         {"group.instance.id", "throw each other out"},
                                         {"isolation.level", "open transaction"},
                                         {"request.required.acks", "replicas"},
                                         {"queue.buffering.max.messages", "relay.in_flight_max"}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        struct err err = refused(own[i][0], "1");
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect(strstr(err.text, own[i][0]) && strstr(err.text, own[i][1]), "%s", err.text);
    }
}

Test(kafka_properties, a_property_that_librdkafka_does_not_know_is_named) {
    struct err err = refused("linger.mss", "5");
    cr_assert_eq(err.code, ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err.text, "linger.mss"), "%s", err.text);
}

Test(kafka_properties, a_value_that_librdkafka_refuses_is_told_with_its_reason) {
    struct err err = refused("linger.ms", "soon");
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_not_null(strstr(err.text, "this value of linger.ms: Invalid value"), "%s", err.text);
    err = refused("security.protocol", "soon");
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_not_null(strstr(err.text, "soon"), "%s", err.text);
}

static bool check(struct property *properties, size_t n, struct err *err) {
    const struct kafka_options options = {
        .topic_prefix = "", .in_flight_max = 1000, .properties = properties, .n_properties = n};
    return kafka_check_options(&options, err);
}

Test(kafka_properties, none_at_all_and_usual_ones_are_taken_by_every_handle) {
    struct err err = {0};
    struct property usual[] = {{"client.id", "mine"},           {"linger.ms", "7"},
                               {"max.in.flight", "5"},          {"compression.type", "lz4"},
                               {"session.timeout.ms", "45000"}, {"fetch.wait.max.ms", "20"}};
    cr_expect(check(NULL, 0, &err), "%s", err.text);
    cr_expect(check(usual, sizeof usual / sizeof usual[0], &err), "%s", err.text);
    /* Short, but fine with the heartbeats that couponsd sets. */
    struct property shorter = {"session.timeout.ms", "2000"};
    cr_expect(check(&shorter, 1, &err), "%s", err.text);
}

Test(kafka_properties, what_only_a_handle_or_a_combination_shows_is_refused_with_the_reason) {
    static const struct {
        struct property properties[2];
        const char *why;
    } cases[] = {
        {{{"max.in.flight", "100"}}, "max.in.flight"},
        {{{"max.in.flight.requests.per.connection", "6"}}, "max.in.flight"},
        {{{"session.timeout.ms", "400000"}}, "max.poll.interval.ms"},
        {{{"max.poll.interval.ms", "30000"}}, "issue may wait for Postgres"},
        {{{"heartbeat.interval.ms", "5000"}}, "at most half of kafka.session.timeout.ms (6000)"},
        {{{"message.max.bytes", "1000"}}, "an event must fit"},
        {{{"topic.metadata.refresh.interval.ms", "-1"}}, "new topics must be found soon"},
        {{{"fetch.max.bytes", "1000"}, {"message.max.bytes", "1000000"}}, "fetch.max.bytes"},
        {{{"security.protocol", "ssl"}, {"ssl.ca.location", "/dev/null"}}, "ssl.ca.location failed"},
        {{{"security.protocol", "sasl_plaintext"}, {"sasl.mechanisms", "ROT13"}}, "ROT13"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        struct property properties[2];
        memcpy(properties, cases[i].properties, sizeof properties);
        cr_expect_not(check(properties, properties[1].name ? 2 : 1, &err), "%s", cases[i].why);
        cr_expect_not_null(strstr(err.text, cases[i].why), "%s: %s", cases[i].properties[0].name, err.text);
        cr_expect_eq(err.code, ERR_INVALID);
    }
}

Test(kafka_properties, a_file_that_is_missing_may_come_later) {
    struct err err = {0};
    struct property properties[] = {{"security.protocol", "ssl"}, {"ssl.ca.location", "/nowhere/ca.pem"}};
    cr_expect_not(check(properties, 2, &err));
    cr_expect_str_eq(err.text, "kafka.ssl.ca.location: /nowhere/ca.pem can't be opened: No such file or directory");
    cr_expect(err.retriable);
    properties[0].value = "plaintext"; /* librdkafka does not read it */
    cr_expect(check(properties, 2, &err));
}

Test(kafka_properties, a_file_is_not_blamed_for_what_it_has_no_part_in) {
    struct err err = {0};
    struct property properties[] = {
        {"security.protocol", "plaintext"}, {"ssl.ca.location", "/nowhere/ca.pem"}, {"max.poll.interval.ms", "1000"}};
    cr_expect_not(check(properties, 3, &err));
    cr_expect_not(err.retriable, "%s", err.text);
    properties[0].value = "ssl";
    properties[1].value = "probe";
    cr_expect_not(check(properties, 3, &err));
    cr_expect_not(err.retriable, "%s", err.text);
}

Test(kafka_properties, the_tables_of_the_docs_name_property_alias_and_reason) {
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    kafka_print_properties(out);
    fclose(out);
    cr_expect_not_null(strstr(text, "| `acks`, `request.required.acks` | acknowledged messages must be on"), "%s",
                       text);
    cr_expect_not_null(strstr(text, "| `max.poll.interval.ms` | 60000 to 86400000 | issue may wait"), "%s", text);
    free(text);
}

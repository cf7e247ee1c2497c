/* SPDX-License-Identifier: Apache-2.0 */
/* Which properties of librdkafka users may set: one table of those that couponsd sets itself, one of limits, and the
 * check of all properties together. The check makes a handle of every kind, since librdkafka refuses some values only
 * then, and some only together with others. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "store/kafka_internal.h"

/* Properties that couponsd sets itself, since its guarantees depend on them, with the reason or the setting to use
 * instead. */
static const struct {
    const char *name, *alias; /* alias: NULL if there is none */
    const char *why;
} own_properties[] = {
    {"bootstrap.servers", "metadata.broker.list", "use kafka.brokers"},
    {"group.id", NULL, "use kafka.topic_prefix, which the names of groups begin with too"},
    {"group.instance.id", NULL, "the consumers of a process would all have the same one and throw each other out"},
    {"enable.idempotence", NULL, "order depends on it"},
    {"enable.gapless.guarantee", NULL, "order depends on it"},
    {"queuing.strategy", NULL, "order depends on it"},
    {"acks", "request.required.acks", "acknowledged messages must be on all replicas"},
    {"message.timeout.ms", "delivery.timeout.ms", "it waits until an outage is over"},
    {"retries", "message.send.max.retries", "it waits until an outage is over"},
    {"delivery.report.only.error", NULL, "the relay counts acknowledgements; it would wait for them without end"},
    {"queue.buffering.max.messages", NULL, "use relay.in_flight_max"},
    {"partitioner", NULL, "the contract fixes it"},
    {"transactional.id", NULL, "the outbox needs none"},
    {"isolation.level", NULL, "an open transaction of another program would stop a partition"},
    {"enable.partition.eof", NULL, "it tells a hole in the offsets from a loss by this"},
    {"enable.auto.commit", "auto.commit.enable", "it commits offsets after the work is done"},
    {"enable.auto.offset.store", NULL, "it commits offsets after the work is done"},
    {"offset.store.method", NULL, "Postgres and Kafka have the offsets"},
    {"auto.offset.reset", NULL, "nothing may be skipped"},
    {"partition.assignment.strategy", NULL, "librdkafka loses assignments with others"},
    {"allow.auto.create.topics", NULL, "couponsd creates its topics"},
    {"topic.blacklist", NULL, "it must see its topics"},
    {"enabled_events", NULL, "it uses callbacks; events would wait in a queue that nobody reads"},
    {"log.queue", NULL, "messages would wait in a queue that nobody reads"},
    {"statistics.interval.ms", NULL, "statistics would wait in a queue that nobody reads; use couponsd's metrics"},
    {"group.protocol", NULL, "the newer protocol does not support subscribing to a pattern everywhere"},
    {"group.remote.assignor", NULL, "it belongs to the newer group protocol"},
};

/* Limits that are narrower than librdkafka's. */
static const struct {
    const char *name;
    int64_t min, max;
    const char *why;
} limits[] = {
    {"max.poll.interval.ms", 60000, 86400000, "issue may wait for Postgres this long without leaving its group"},
    {"topic.metadata.refresh.interval.ms", 100, 60000, "new topics must be found soon"},
    {"message.max.bytes", 4096, 1000000000, "an event must fit, with its headers"},
};

static bool is_own(size_t i, const char *name) {
    return strcmp(own_properties[i].name, name) == 0 ||
           (own_properties[i].alias && strcmp(own_properties[i].alias, name) == 0);
}

bool kafka_check_property(const char *name, const char *value, struct err *err) {
    for (size_t i = 0; i < sizeof own_properties / sizeof own_properties[0]; i++)
        if (is_own(i, name))
            return err_set(err, ERR_INVALID, BACKEND_KAFKA, "couponsd sets %s itself: %s", name, own_properties[i].why);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool ok = kafka_set(conf, name, value, err);
    rd_kafka_conf_destroy(conf);
    return ok;
}

void kafka_print_properties(FILE *out) {
    fputs("| Property | couponsd sets it itself, because |\n|---|---|\n", out);
    for (size_t i = 0; i < sizeof own_properties / sizeof own_properties[0]; i++) {
        const char *alias = own_properties[i].alias;
        fprintf(out, "| `%s`%s%s%s | %s |\n", own_properties[i].name, alias ? ", `" : "", alias ? alias : "",
                alias ? "`" : "", own_properties[i].why);
    }
    fputs("\n| Property | Range | Reason |\n|---|---|---|\n", out);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        fprintf(out, "| `%s` | %lld to %lld | %s |\n", limits[i].name, (long long)limits[i].min,
                (long long)limits[i].max, limits[i].why);
    fputs("| `heartbeat.interval.ms` | up to half of `session.timeout.ms` | a late heartbeat must not end a "
          "membership |\n",
          out);
}

static int64_t value_of(const rd_kafka_conf_t *conf, const char *name) {
    char text[32] = "";
    size_t size = sizeof text;
    return rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK ? strtoll(text, NULL, 10) : 0;
}

static bool is_set_to(const rd_kafka_conf_t *conf, const char *name, const char *value) {
    char text[64] = "";
    size_t size = sizeof text;
    return rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK && strcasecmp(text, value) == 0;
}

/* librdkafka accepts OAUTHBEARER without a source of tokens, and then waits for one without end. */
static bool check_oauthbearer(const rd_kafka_conf_t *conf, struct err *err) {
    if (!is_set_to(conf, "sasl.mechanisms", "OAUTHBEARER") || is_set_to(conf, "sasl.oauthbearer.method", "oidc") ||
        is_set_to(conf, "enable.sasl.oauthbearer.unsecure.jwt", "true"))
        return true;
    return err_set(err, ERR_INVALID, BACKEND_KAFKA,
                   "kafka.sasl.mechanisms = OAUTHBEARER needs kafka.sasl.oauthbearer.method = oidc: couponsd has no "
                   "other source of tokens");
}

bool kafka_check_limits(const rd_kafka_conf_t *conf, struct err *err) {
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        int64_t value = value_of(conf, limits[i].name);
        if (value < limits[i].min || value > limits[i].max)
            return err_set(err, ERR_INVALID, BACKEND_KAFKA, "kafka.%s is %lld, but must be from %lld to %lld: %s",
                           limits[i].name, (long long)value, (long long)limits[i].min, (long long)limits[i].max,
                           limits[i].why);
    }
    return check_oauthbearer(conf, err);
}

bool kafka_check_heartbeat(const rd_kafka_conf_t *conf, struct err *err) {
    int64_t heartbeat_ms = value_of(conf, "heartbeat.interval.ms"), session_ms = value_of(conf, "session.timeout.ms");
    if (2 * heartbeat_ms > session_ms)
        return err_set(err, ERR_INVALID, BACKEND_KAFKA,
                       "kafka.heartbeat.interval.ms (%lld) must be at most half of kafka.session.timeout.ms (%lld)",
                       (long long)heartbeat_ms, (long long)session_ms);
    return true;
}

rd_kafka_t *kafka_handle(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct err *err) {
    char text[256] = "";
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
    if (!rk)
        err_set(err, ERR_INVALID, BACKEND_KAFKA, "librdkafka refuses the kafka.* properties of the %s: %s",
                type == RD_KAFKA_PRODUCER ? "producer" : "consumer", text);
    return rk;
}

static bool uses_tls(const struct kafka_options *options) {
    const struct property *protocol = kafka_property_of(options, "security.protocol");
    return protocol && (strcasecmp(protocol->value, "ssl") == 0 || strcasecmp(protocol->value, "sasl_ssl") == 0);
}

/* If a file that a property names can't be opened, says that instead: it may come later. */
static bool blame_missing_file(const struct kafka_options *options, struct err *err) {
    static const char *const names[] = {"ssl.ca.location", "ssl.certificate.location", "ssl.key.location",
                                        "ssl.keystore.location", "ssl.crl.location"};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && uses_tls(options); i++) {
        const struct property *property = kafka_property_of(options, names[i]);
        /* "probe" makes librdkafka look for the system's certificates. */
        if (property && strcmp(property->value, "probe") != 0 && access(property->value, R_OK) != 0)
            return err_set(err, ERR_UNAVAILABLE, BACKEND_KAFKA, "kafka.%s: %s can't be opened: %s", names[i],
                           property->value, strerror(errno));
    }
    return false;
}

bool kafka_check_options(const struct kafka_options *options, struct err *err) {
    /* Without brokers the handles connect to nothing. */
    struct kafka_options unconnected = *options;
    unconnected.brokers = NULL;
    unconnected.on_log = NULL;
    for (int stream = 0; stream < STREAMS; stream++)
        if (!kafka_producer_check(&unconnected, (enum stream)stream, err) ||
            !kafka_consumer_check(&unconnected, (enum stream)stream, err))
            return blame_missing_file(options, err);
    struct kafka_admin *admin;
    if (!kafka_admin_new(&unconnected, &admin, err))
        return false;
    kafka_admin_free(admin);
    return true;
}

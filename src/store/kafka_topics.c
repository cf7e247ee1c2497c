/* Topic names, and creating and checking topics. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <string.h>

#include "store/kafka_internal.h"

void kafka_topic_name(const struct kafka_options *options, enum stream stream, char ret_name[static KAFKA_TOPIC_MAX]) {
    static const char *const names[STREAMS] = {"outside.coupon.publish.requested.v1", "inside.coupon.published.v1"};
    snprintf(ret_name, KAFKA_TOPIC_MAX, "%s%s", options->topic_prefix, names[stream]);
}

bool kafka_set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *err) {
    char text[256];
    if (rd_kafka_conf_set(conf, key, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        return err_set(err, ERR_INVALID, BACKEND_KAFKA, "%s", text);
    return true;
}

static void forward_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    const struct kafka_options *const *options = rd_kafka_opaque(rk);
    (void)facility;
    if (options && *options && (*options)->on_log)
        (*options)->on_log(level, text);
}

bool kafka_common_conf(const struct kafka_options *options, rd_kafka_conf_t *conf, struct err *err) {
    static const char *const settings[][2] = {
        {"client.id", "couponsd"},
        {"socket.nagle.disable", "true"},
        {"socket.keepalive.enable", "true"},
        /* A broker that comes back is found again within a second. */
        {"reconnect.backoff.ms", "50"},
        {"reconnect.backoff.max.ms", "1000"},
        {"log.connection.close", "false"},
        {"topic.metadata.refresh.interval.ms", "10000"},
    };
    rd_kafka_conf_set_log_cb(conf, forward_log);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (!kafka_set(conf, settings[i][0], settings[i][1], err))
            return false;
    return kafka_set(conf, "bootstrap.servers", options->brokers, err);
}

static enum err_code code_of(rd_kafka_resp_err_t error) {
    switch (error) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        return ERR_PERMISSION;
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
        return ERR_INVALID;
    default:
        return ERR_UNAVAILABLE;
    }
}

static bool create_topic(rd_kafka_t *rk, const struct kafka_options *options, const char *name, int timeout_ms,
                         struct err *err) {
    char text[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(name, options->partitions, options->replication_factor, text, sizeof text);
    if (!topic)
        return err_set(err, ERR_INVALID, BACKEND_KAFKA, "topic %s: %s", name, text);
    rd_kafka_AdminOptions_t *admin = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_operation_timeout(admin, timeout_ms, NULL, 0);
    rd_kafka_AdminOptions_set_request_timeout(admin, timeout_ms, NULL, 0);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, &topic, 1, admin, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms + 1000);
    bool ok;
    if (!event || rd_kafka_event_error(event)) {
        ok = err_set(err, ERR_UNAVAILABLE, BACKEND_KAFKA, "creating topic %s: %s", name,
                     event ? rd_kafka_event_error_string(event) : "no answer");
    } else {
        size_t n;
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
        rd_kafka_resp_err_t error = n == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
        /* Another couponsd may have been quicker. */
        ok = error == RD_KAFKA_RESP_ERR_NO_ERROR || error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
        if (!ok) {
            const char *why = n == 1 ? rd_kafka_topic_result_error_string(results[0]) : NULL;
            err_set(err, code_of(error), BACKEND_KAFKA, "creating topic %s: %s", name,
                    why ? why : rd_kafka_err2str(error));
        }
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(admin);
    rd_kafka_NewTopic_destroy(topic);
    return ok;
}

static bool ensure_topic(rd_kafka_t *rk, const struct kafka_options *options, enum stream stream, int timeout_ms,
                         struct err *err) {
    char name[KAFKA_TOPIC_MAX];
    kafka_topic_name(options, stream, name);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    if (!topic)
        return err_set(err, ERR_INVALID, BACKEND_KAFKA, "kafka.topic_prefix: %s is not a topic's name", name);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 0, topic, &metadata, timeout_ms);
    bool ok = true, missing = false;
    if (error) {
        ok = err_set(err, ERR_UNAVAILABLE, BACKEND_KAFKA, "%s: %s", options->brokers, rd_kafka_err2str(error));
    } else if (metadata->topic_cnt != 1 || metadata->topics[0].err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        missing = true;
    } else if (metadata->topics[0].err && metadata->topics[0].err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
        ok = err_set(err, code_of(metadata->topics[0].err), BACKEND_KAFKA, "topic %s: %s", name,
                     rd_kafka_err2str(metadata->topics[0].err));
    } else if (metadata->topics[0].partition_cnt != options->partitions) {
        ok = err_set(err, ERR_INVALID, BACKEND_KAFKA,
                     "topic %s has %d partitions, but kafka.partitions = %d: set kafka.partitions = %d", name,
                     metadata->topics[0].partition_cnt, options->partitions, metadata->topics[0].partition_cnt);
    }
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    return ok && (!missing || create_topic(rk, options, name, timeout_ms, err));
}

bool kafka_ensure_topics(const struct kafka_options *options, int timeout_ms, struct err *err) {
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (!kafka_common_conf(options, conf, err)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    /* Its complaints while no broker answers are this function's result, not the log's. */
    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return err_set(err, ERR_INVALID, BACKEND_KAFKA, "%s", text);
    }
    bool ok = ensure_topic(rk, options, STREAM_REQUESTED, timeout_ms, err) &&
              ensure_topic(rk, options, STREAM_PUBLISHED, timeout_ms, err);
    rd_kafka_destroy(rk);
    return ok;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "mock_kafka.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"

#define WAIT_MS 20000

void mock_kafka_init(struct mock_kafka *mock, int brokers) {
    char text[200];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
    mock->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    cr_assert_not_null(mock->rk, "%s", text);
    mock->cluster = rd_kafka_mock_cluster_new(mock->rk, brokers);
    cr_assert_not_null(mock->cluster);
    const char *addresses = rd_kafka_mock_cluster_bootstraps(mock->cluster);
    cr_assert_eq(rd_kafka_brokers_add(mock->rk, addresses), brokers);
    mock->options = (struct kafka_options){
        .brokers = addresses, .topic_prefix = "t-", .replication_factor = 1, .in_flight_max = 1000};
}

void mock_kafka_deinit(struct mock_kafka *mock) {
    rd_kafka_mock_cluster_destroy(mock->cluster);
    rd_kafka_destroy(mock->rk);
}

void mock_kafka_make_topic(struct mock_kafka *mock, const char *topic, int partitions) {
    cr_assert_eq(rd_kafka_mock_topic_create(mock->cluster, topic, partitions, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
}

void mock_kafka_append(struct mock_kafka *mock, const char *topic, int32_t partition, const char *value) {
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t) "k", 1}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)value, strlen(value)}},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
    };
    rd_kafka_error_t *error = rd_kafka_produceva(mock->rk, parts, sizeof parts / sizeof parts[0]);
    cr_assert_null(error, "%s", rd_kafka_error_string(error));
    cr_assert_eq(rd_kafka_flush(mock->rk, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* --- markers: a request of the protocol, since producers of librdkafka can't send one --- */

/* Adds an integer of `size` bytes. */
static void add(struct strbuf *out, int size, int64_t value) {
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
        strbuf_add(out, &(char){(char)(value >> shift)}, 1);
}

static void add_batch(struct strbuf *out) {
    /* Its length, attributes, time, offset, the key's length, the key (version 0, commit), the value's length, the
     * value (version and epoch), and the number of headers. */
    static const char record[] = {0x20, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 0, 0};
    add(out, 8, 0);                      /* base offset */
    add(out, 4, 49 + sizeof record);     /* length behind this field */
    add(out, 4, 0);                      /* leader's epoch */
    add(out, 1, 2);                      /* format */
    add(out, 4, 0);                      /* checksum, which is not checked */
    add(out, 2, 0x30);                   /* transactional and control */
    add(out, 4, 0);                      /* the last offset's distance */
    add(out, 8, clock_wall_us() / 1000); /* first and last time */
    add(out, 8, clock_wall_us() / 1000);
    add(out, 8, -1); /* producer, its epoch, its sequence */
    add(out, 2, -1);
    add(out, 4, -1);
    add(out, 4, 1); /* number of records */
    strbuf_add(out, record, sizeof record);
}

static void exchange(const char *broker, const struct strbuf *request, char *response, size_t size) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strrchr(broker, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    cr_assert_eq(send(fd, request->data, request->len, MSG_NOSIGNAL), (ssize_t)request->len);
    cr_assert_eq(recv(fd, response, size, MSG_WAITALL), (ssize_t)size);
    close(fd);
}

void mock_kafka_append_marker(struct mock_kafka *mock, const char *topic, int32_t partition) {
    struct strbuf body = {0}, batch = {0}, request = {0};
    size_t topic_len = strlen(topic);
    add_batch(&batch);
    add(&body, 2, API_PRODUCE);
    add(&body, 2, 7);  /* version */
    add(&body, 4, 0);  /* the request's number */
    add(&body, 2, -1); /* no client id, no transactional id */
    add(&body, 2, -1);
    add(&body, 2, -1); /* acks: all */
    add(&body, 4, WAIT_MS);
    add(&body, 4, 1); /* one topic, with one partition */
    add(&body, 2, (int64_t)topic_len);
    strbuf_add(&body, topic, topic_len);
    add(&body, 4, 1);
    add(&body, 4, partition);
    add(&body, 4, (int64_t)batch.len);
    strbuf_add(&body, batch.data, batch.len);
    add(&request, 4, (int64_t)body.len);
    strbuf_add(&request, body.data, body.len);
    /* Length, number, one topic, its name, one partition, its number, and the error. */
    char response[200];
    size_t error_at = 4 + 4 + 4 + 2 + topic_len + 4 + 4;
    exchange(mock->options.brokers, &request, response, error_at + 2);
    cr_assert(response[error_at] == 0 && response[error_at + 1] == 0, "error %d", response[error_at + 1]);
    strbuf_deinit(&body);
    strbuf_deinit(&batch);
    strbuf_deinit(&request);
}

int64_t mock_kafka_committed(struct mock_kafka *mock, const char *group, const char *topic, int32_t partition) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", mock->options.brokers, NULL, 0);
    rd_kafka_conf_set(conf, "group.id", group, NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    cr_assert(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition);
    rd_kafka_resp_err_t error = rd_kafka_committed(rk, list, WAIT_MS);
    cr_assert_not(error, "%s", rd_kafka_err2str(error));
    int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return offset >= 0 ? offset : -1;
}

bool mock_kafka_waits(int64_t *until_us) {
    if (!*until_us)
        *until_us = clock_mono_us() + WAIT_MS * (int64_t)US_PER_MS;
    cr_assert_lt(clock_mono_us(), *until_us, "the condition did not come true");
    clock_sleep_us(US_PER_MS);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* kafka_tool BROKERS COMMAND: the operations on Kafka that tests need, independent of couponsd's code.
 *
 *   partitions TOPIC       prints the number of partitions; 0 if the topic does not exist
 *   insync TOPIC           prints the number of in-sync replicas of the partition that has the fewest
 *   dump TOPIC             prints every message up to the end offsets at the start, as one JSON object per line:
 *                          partition, offset, timestamp (ms), key, headers as an object, value in hexadecimal
 *   events TOPIC           prints "PARTITION OFFSET COUPON USER TICKET" for every event; 0 for missing fields
 *   produce TOPIC          produces the messages from stdin and waits until all are acknowledged. A message is two
 *                          lengths, of key and value, 4 bytes each in network order (0xffffffff: null), then both
 *   transact TOPIC END     produces likewise in a transaction, and then ends it: END is commit, abort, or leave, which
 *                          leaves it open, so that the broker aborts it after 8 s
 *   cut TOPIC OFFSET       deletes the messages below this offset in partition 0
 *   lag TOPIC GROUP        prints the number of messages that the group has not committed yet
 *   make TOPIC N           creates the topic with N partitions and one replica
 *   allow NAME KIND OP...  allows User:couponsd the operations on the topic or group (KIND) of this name
 *   grow TOPIC N           adds partitions until the topic has N
 *   delete TOPIC...        deletes the topics and waits until they are gone
 *
 * On failure it prints a line on stderr and exits with 1. */
#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS 20000

static void fail(const char *what, const char *why) {
    fprintf(stderr, "kafka_tool: %s: %s\n", what, why);
    exit(1);
}

static rd_kafka_t *connect_to(const char *brokers, const char *group) {
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text) ||
        rd_kafka_conf_set(conf, "group.id", group, text, sizeof text) ||
        rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof text))
        fail(brokers, text);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (!rk)
        fail(brokers, text);
    return rk;
}

static int partitions_of(rd_kafka_t *rk, const char *topic) {
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 0, handle, &metadata, TIMEOUT_MS);
    if (error)
        fail(topic, rd_kafka_err2str(error));
    int n = metadata->topic_cnt == 1 && !metadata->topics[0].err ? metadata->topics[0].partition_cnt : 0;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    return n;
}

/* Returns the fewest in-sync replicas of any partition of the topic, as far as the answering broker knows. */
static int insync_of(rd_kafka_t *rk, const char *topic) {
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 0, handle, &metadata, TIMEOUT_MS);
    if (error || metadata->topic_cnt != 1 || metadata->topics[0].err)
        fail(topic, error ? rd_kafka_err2str(error) : "the topic does not exist");
    int fewest = metadata->topics[0].partition_cnt > 0 ? INT_MAX : 0;
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++) {
        int n = metadata->topics[0].partitions[i].isr_cnt;
        fewest = n < fewest ? n : fewest;
    }
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    return fewest;
}

static void print_text(const char *text, size_t len) {
    putchar('"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\' || c < ' ' || c > '~')
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_message(const rd_kafka_message_t *message) {
    printf("{\"partition\":%d,\"offset\":%lld,\"timestamp\":%lld,\"key\":", message->partition,
           (long long)message->offset, (long long)rd_kafka_message_timestamp(message, NULL));
    if (message->key)
        print_text(message->key, message->key_len);
    else
        printf("null");
    printf(",\"headers\":{");
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size;
    if (!rd_kafka_message_headers(message, &headers))
        for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); i++) {
            printf("%s", i ? "," : "");
            print_text(name, strlen(name));
            putchar(':');
            print_text(value ? value : "", value ? size : 0);
        }
    printf("},\"value\":\"");
    for (size_t i = 0; i < message->len; i++)
        printf("%02x", ((const unsigned char *)message->payload)[i]);
    puts("\"}");
}

/* Returns the value of the event's field with this number, or 0 if it is missing. Fields are varints or bytes. */
static long long number_of(const rd_kafka_message_t *message, unsigned field) {
    const unsigned char *at = message->payload, *end = at + message->len;
    unsigned long long tag = 0, *into = &tag, value = 0;
    int shift = 0;
    while (at < end) {
        *into |= (unsigned long long)(*at & 0x7f) << shift;
        shift += 7;
        if (*at++ & 0x80 && shift < 64)
            continue;
        shift = 0;
        if (into == &tag) {
            value = 0;
            into = &value;
            continue;
        }
        if (tag == (unsigned long long)field << 3)
            return (long long)value;
        if ((tag & 7) == 2)
            at += value < (unsigned long long)(end - at) ? value : (unsigned long long)(end - at);
        tag = 0;
        into = &tag;
    }
    return 0;
}

static void print_event(const rd_kafka_message_t *message) {
    printf("%d %lld %lld %lld %lld\n", message->partition, (long long)message->offset, number_of(message, 1),
           number_of(message, 2), number_of(message, 4));
}

static void dump(rd_kafka_t *rk, const char *topic, void (*print)(const rd_kafka_message_t *message)) {
    int n = partitions_of(rk, topic), left = n;
    if (n == 0)
        fail(topic, "the topic does not exist");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    for (int i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    while (left > 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, TIMEOUT_MS);
        if (!message)
            fail(topic, "timed out waiting for messages");
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            left--;
        else if (message->err)
            fail(topic, rd_kafka_message_errstr(message));
        else
            print(message);
        rd_kafka_message_destroy(message);
    }
}

static void print_lag(rd_kafka_t *rk, const char *topic) {
    int n = partitions_of(rk, topic);
    long long lag = 0;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    for (int i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, topic, i);
    rd_kafka_resp_err_t error = rd_kafka_committed(rk, list, TIMEOUT_MS);
    for (int i = 0; i < n && !error; i++) {
        int64_t low, high;
        error = rd_kafka_query_watermark_offsets(rk, topic, i, &low, &high, TIMEOUT_MS);
        lag += high - (list->elems[i].offset >= 0 ? list->elems[i].offset : low);
    }
    if (error)
        fail(topic, rd_kafka_err2str(error));
    rd_kafka_topic_partition_list_destroy(list);
    printf("%lld\n", lag);
}

/* Returns false at the end of stdin. */
static bool read_bytes(void *bytes, size_t len) {
    if (fread(bytes, 1, len, stdin) == len)
        return true;
    if (!feof(stdin) || ferror(stdin))
        fail("stdin", "cannot read");
    return false;
}

/* Reads a key or value. *ret_bytes is NULL for null; the caller frees it otherwise. */
static void read_part(uint32_t len, void **ret_bytes, size_t *ret_len) {
    *ret_len = len == UINT32_MAX ? 0 : len;
    *ret_bytes = len == UINT32_MAX ? NULL : malloc(*ret_len + 1);
    if (len != UINT32_MAX && !*ret_bytes)
        abort(); /* out of memory: the test fails in any case */
    if (*ret_len && !read_bytes(*ret_bytes, *ret_len))
        fail("stdin", "ends in the middle of a message");
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
    (void)rk;
    (void)opaque;
    if (message->err)
        fail("produce", rd_kafka_err2str(message->err));
}

/* A transactional producer gets a transactional id that no other process uses. */
static rd_kafka_t *producer_to(const char *brokers, bool transactional) {
    char text[256], id[64];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    snprintf(id, sizeof id, "kafka_tool-%ld-%lld", (long)getpid(), (long long)time(NULL));
    if (transactional && (rd_kafka_conf_set(conf, "transactional.id", id, text, sizeof text) ||
                          rd_kafka_conf_set(conf, "transaction.timeout.ms", "8000", text, sizeof text) ||
                          rd_kafka_conf_set(conf, "message.timeout.ms", "8000", text, sizeof text)))
        fail(brokers, text);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text) ||
        rd_kafka_conf_set(conf, "partitioner", "murmur2_random", text, sizeof text) ||
        rd_kafka_conf_set(conf, "linger.ms", "20", text, sizeof text))
        fail(brokers, text);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!rk)
        fail(brokers, text);
    return rk;
}

static void check(rd_kafka_error_t *error, const char *what) {
    if (error)
        fail(what, rd_kafka_error_string(error));
}

/* `end`: how to end the transaction; NULL: no transaction. */
static void produce(const char *brokers, const char *topic, const char *end) {
    rd_kafka_t *rk = producer_to(brokers, end != NULL);
    uint32_t lens[2];
    if (end) {
        check(rd_kafka_init_transactions(rk, TIMEOUT_MS), "init");
        check(rd_kafka_begin_transaction(rk), "begin");
    }
    while (read_bytes(lens, sizeof lens)) {
        void *key, *value;
        size_t key_len, value_len;
        rd_kafka_resp_err_t error;
        read_part(ntohl(lens[0]), &key, &key_len);
        read_part(ntohl(lens[1]), &value, &value_len);
        do {
            error = __extension__ rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, key_len),
                                                    RD_KAFKA_V_VALUE(value, value_len),
                                                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
            rd_kafka_poll(rk, error ? 10 : 0);
        } while (error == RD_KAFKA_RESP_ERR__QUEUE_FULL);
        if (error)
            fail("produce", rd_kafka_err2str(error));
        free(key);
        free(value);
    }
    if (rd_kafka_flush(rk, TIMEOUT_MS))
        fail("produce", "not all messages were acknowledged");
    if (end && strcmp(end, "commit") == 0)
        check(rd_kafka_commit_transaction(rk, TIMEOUT_MS), "commit");
    else if (end && strcmp(end, "abort") == 0)
        check(rd_kafka_abort_transaction(rk, TIMEOUT_MS), "abort");
    rd_kafka_destroy(rk);
}

static void await(rd_kafka_queue_t *queue, const char *what) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
    if (!event)
        fail(what, "no answer");
    if (rd_kafka_event_error(event))
        fail(what, rd_kafka_event_error_string(event));
    size_t n = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT
            ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n)
        : rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT
            ? rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &n)
            : rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &n);
    for (size_t i = 0; i < n; i++)
        if (rd_kafka_topic_result_error(results[i]))
            fail(rd_kafka_topic_result_name(results[i]), rd_kafka_topic_result_error_string(results[i]));
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
}

/* settings: key and value alternately, then NULL */
static void make(rd_kafka_t *rk, const char *topic, const char *partitions, char **settings) {
    char text[256];
    rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(topic, atoi(partitions), 1, text, sizeof text);
    if (!made)
        fail(topic, text);
    for (; settings[0] && settings[1]; settings += 2)
        rd_kafka_NewTopic_set_config(made, settings[0], settings[1]);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, &made, 1, NULL, queue);
    await(queue, topic);
    rd_kafka_NewTopic_destroy(made);
}

static void allow(rd_kafka_t *rk, const char *name, const char *kind, char **operations) {
    static const struct {
        const char *name;
        rd_kafka_AclOperation_t operation;
    } known[] = {{"read", RD_KAFKA_ACL_OPERATION_READ},
                 {"write", RD_KAFKA_ACL_OPERATION_WRITE},
                 {"describe", RD_KAFKA_ACL_OPERATION_DESCRIBE}};
    for (; *operations; operations++)
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            char text[256];
            if (strcmp(known[i].name, *operations) != 0)
                continue;
            rd_kafka_AclBinding_t *acl =
                rd_kafka_AclBinding_new(strcmp(kind, "group") == 0 ? RD_KAFKA_RESOURCE_GROUP : RD_KAFKA_RESOURCE_TOPIC,
                                        name, RD_KAFKA_RESOURCE_PATTERN_LITERAL, "User:couponsd", "*",
                                        known[i].operation, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text, sizeof text);
            if (!acl)
                fail(name, text);
            rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
            rd_kafka_CreateAcls(rk, &acl, 1, NULL, queue);
            rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
            if (!event || rd_kafka_event_error(event))
                fail(name, event ? rd_kafka_event_error_string(event) : "no answer");
            rd_kafka_event_destroy(event);
            rd_kafka_queue_destroy(queue);
            rd_kafka_AclBinding_destroy(acl);
        }
}

static void grow(rd_kafka_t *rk, const char *topic, const char *to) {
    char text[256];
    rd_kafka_NewPartitions_t *more =
        rd_kafka_NewPartitions_new(topic, (size_t)strtoul(to, NULL, 10), text, sizeof text);
    if (!more)
        fail(topic, text);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_CreatePartitions(rk, &more, 1, NULL, queue);
    await(queue, topic);
    rd_kafka_NewPartitions_destroy(more);
}

static void cut(rd_kafka_t *rk, const char *topic, const char *offset) {
    rd_kafka_topic_partition_list_t *before = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(before, topic, 0)->offset = strtoll(offset, NULL, 10);
    rd_kafka_DeleteRecords_t *old = rd_kafka_DeleteRecords_new(before);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteRecords(rk, &old, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
    if (!event || rd_kafka_event_error(event))
        fail(topic, event ? rd_kafka_event_error_string(event) : "no answer");
    const rd_kafka_topic_partition_list_t *cut_off =
        rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
    if (cut_off->cnt != 1 || cut_off->elems[0].err)
        fail(topic, cut_off->cnt == 1 ? rd_kafka_err2str(cut_off->elems[0].err) : "no result");
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteRecords_destroy(old);
    rd_kafka_topic_partition_list_destroy(before);
}

static void delete_topic(rd_kafka_t *rk, const char *topic) {
    rd_kafka_DeleteTopic_t *old = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopics(rk, &old, 1, NULL, queue);
    await(queue, topic);
    rd_kafka_DeleteTopic_destroy(old);
    for (int i = 0; partitions_of(rk, topic) > 0; i++) {
        if (i == TIMEOUT_MS / 10)
            fail(topic, "the topic still exists");
        usleep(10000);
    }
}

int main(int argc, char **argv) {
    if (argc < 4)
        fail("usage",
             "kafka_tool BROKERS partitions|dump|events|produce|transact|make|allow|cut|lag|grow|delete TOPIC...");
    const char *command = argv[2];
    bool is_lag = strcmp(command, "lag") == 0 && argc == 5;
    rd_kafka_t *rk = connect_to(argv[1], is_lag ? argv[4] : "kafka_tool");
    if (is_lag)
        print_lag(rk, argv[3]);
    else if (strcmp(command, "partitions") == 0)
        printf("%d\n", partitions_of(rk, argv[3]));
    else if (strcmp(command, "insync") == 0)
        printf("%d\n", insync_of(rk, argv[3]));
    else if (strcmp(command, "dump") == 0)
        dump(rk, argv[3], print_message);
    else if (strcmp(command, "events") == 0)
        dump(rk, argv[3], print_event);
    else if (strcmp(command, "produce") == 0)
        produce(argv[1], argv[3], NULL);
    else if (strcmp(command, "transact") == 0 && argc == 5)
        produce(argv[1], argv[3], argv[4]);
    else if (strcmp(command, "make") == 0 && argc >= 5)
        make(rk, argv[3], argv[4], argv + 5);
    else if (strcmp(command, "allow") == 0 && argc >= 6)
        allow(rk, argv[3], argv[4], argv + 5);
    else if (strcmp(command, "cut") == 0 && argc == 5)
        cut(rk, argv[3], argv[4]);
    else if (strcmp(command, "grow") == 0 && argc == 5)
        grow(rk, argv[3], argv[4]);
    else if (strcmp(command, "delete") == 0)
        for (int i = 3; i < argc; i++)
            delete_topic(rk, argv[i]);
    else
        fail(command, "no such command");
    rd_kafka_destroy(rk);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* kafka_admin: creates, lists and deletes topics, and reads their ends and the offsets of groups. Any thread. */
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/kafka_internal.h"

/* Up to this number of topics, asks whether they exist before it creates them. */
#define ASK_FIRST_MAX 4

struct kafka_admin {
    struct kafka_options options; /* first: kafka_internal.h */
    rd_kafka_t *rk;
    pthread_mutex_t secrets_lock; /* guards `secrets` */
    struct kafka_secrets secrets;
    atomic_bool refused; /* a broker has refused our credentials, and no request has succeeded since */
};

/* Notes refused credentials. librdkafka retries forever, so calls end with a time-out, which hides the cause. Kafka
 * counts as unavailable then, since the password may be about to change. */
static void note_error(rd_kafka_t *rk, int error, const char *reason, void *opaque) {
    struct kafka_admin *admin = opaque;
    (void)rk;
    (void)reason;
    if (error == RD_KAFKA_RESP_ERR__AUTHENTICATION)
        atomic_store(&admin->refused, true);
}

static bool failed(struct kafka_admin *admin, rd_kafka_resp_err_t error, struct err *err) {
    rd_kafka_poll(admin->rk, 0); /* runs note_error */
    if (atomic_load(&admin->refused))
        return err_set(err, ERR_UNAVAILABLE, BACKEND_KAFKA,
                       "%s: authentication failed: check kafka.security.protocol, kafka.sasl.* and kafka.ssl.*",
                       admin->options.brokers);
    return err_set(err, kafka_err_code(error), BACKEND_KAFKA, "%s: %s", admin->options.brokers,
                   rd_kafka_err2str(error));
}

static void succeeded(struct kafka_admin *admin) {
    rd_kafka_poll(admin->rk, 0); /* what note_error would hear later is older */
    atomic_store(&admin->refused, false);
}

static void admin_free(struct kafka_admin *admin) {
    pthread_mutex_destroy(&admin->secrets_lock);
    kafka_secrets_deinit(&admin->secrets);
    free(admin);
}

bool kafka_admin_new(const struct kafka_options *options, struct kafka_admin **ret_admin, struct err *err) {
    struct kafka_admin *admin = memory_new(1, sizeof *admin);
    admin->options = *options;
    pthread_mutex_init(&admin->secrets_lock, NULL);
    kafka_secrets_init(&admin->secrets, options);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char group[KAFKA_TOPIC_MAX];
    kafka_group_name(options, STREAM_PUBLISHED, group);
    /* With the group's name the handle may read its offsets; it never joins. */
    if (kafka_reader_conf(options, conf, err) && kafka_set(conf, "group.id", group, err)) {
        /* Callers get the errors as results, so librdkafka need not log them. */
        rd_kafka_conf_set_log_cb(conf, NULL);
        rd_kafka_conf_set_opaque(conf, admin);
        rd_kafka_conf_set_error_cb(conf, note_error);
        /* A consumer's handle: a producer's handle may create the topics that it asks about. */
        admin->rk = kafka_handle(RD_KAFKA_CONSUMER, conf, err);
    }
    if (!admin->rk) {
        rd_kafka_conf_destroy(conf);
        admin_free(admin);
        return false;
    }
    *ret_admin = admin;
    return true;
}

void kafka_admin_free(struct kafka_admin *admin) {
    if (!admin)
        return;
    if (kafka_destroy(admin->rk))
        admin_free(admin);
}

static bool is_missing(rd_kafka_resp_err_t error) {
    return error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || error == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
}

bool kafka_topic_partitions(struct kafka_admin *admin, const char *topic, int timeout_ms, int *ret_partitions,
                            struct err *err) {
    /* The keeper of the topics calls this every second, so that the other calls need not. */
    pthread_mutex_lock(&admin->secrets_lock);
    kafka_secrets_refresh(&admin->secrets, &admin->options, admin->rk);
    pthread_mutex_unlock(&admin->secrets_lock);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(admin->rk, topic, NULL);
    if (!handle)
        return err_set(err, ERR_INVALID, BACKEND_KAFKA, "kafka.topic_prefix: %s is not a topic's name", topic);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t error = rd_kafka_metadata(admin->rk, 0, handle, &metadata, timeout_ms);
    bool ok = true;
    if (!error)
        succeeded(admin);
    if (error) {
        ok = failed(admin, error, err);
    } else if (metadata->topic_cnt != 1 || is_missing(metadata->topics[0].err)) {
        *ret_partitions = 0;
    } else if (metadata->topics[0].err && metadata->topics[0].err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
        ok = err_set(err, kafka_err_code(metadata->topics[0].err), BACKEND_KAFKA, "topic %s: %s", topic,
                     rd_kafka_err2str(metadata->topics[0].err));
    } else {
        *ret_partitions = metadata->topics[0].partition_cnt;
    }
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    return ok;
}

bool kafka_topic_list(struct kafka_admin *admin, int timeout_ms, struct kafka_topic **ret_topics, size_t *ret_n,
                      struct err *err) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(admin->rk, 1, NULL, &metadata, timeout_ms);
    if (error)
        return failed(admin, error, err);
    succeeded(admin);
    size_t n = 0;
    struct kafka_topic *topics = memory_new((size_t)metadata->topic_cnt + 1, sizeof *topics);
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const rd_kafka_metadata_topic_t *topic = &metadata->topics[i];
        struct kafka_topic *at = &topics[n];
        if (is_missing(topic->err) || strlen(topic->topic) >= sizeof at->name ||
            !kafka_topic_parse(&admin->options, topic->topic, &at->stream, &at->version, &at->coupon_id))
            continue;
        at->partitions = topic->partition_cnt;
        memcpy(at->name, topic->topic, strlen(topic->topic) + 1);
        n++;
    }
    rd_kafka_metadata_destroy(metadata);
    *ret_topics = topics;
    *ret_n = n;
    return true;
}

/* --- requests whose reply is an event --- */

static rd_kafka_AdminOptions_t *admin_options(struct kafka_admin *admin, rd_kafka_admin_op_t op, int timeout_ms) {
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->rk, op);
    rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, NULL, 0);
    return options;
}

/* Waits for the reply, which the caller destroys. Returns NULL on failure. Destroys `queue` and `options`. */
static rd_kafka_event_t *await(rd_kafka_queue_t *queue, rd_kafka_AdminOptions_t *options, const char *doing,
                               const char *topic, int timeout_ms, struct err *err) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms + 1000);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    if (event && !rd_kafka_event_error(event))
        return event;
    err_set(err, event ? kafka_err_code(rd_kafka_event_error(event)) : ERR_UNAVAILABLE, BACKEND_KAFKA, "%s %s: %s",
            doing, topic, event ? rd_kafka_event_error_string(event) : "no answer");
    if (event)
        rd_kafka_event_destroy(event);
    return NULL;
}

/* Reads the result of each topic. `fine` is an error that counts as success. */
static bool read_results(const rd_kafka_topic_result_t **results, size_t n, rd_kafka_resp_err_t fine, const char *doing,
                         enum kafka_made *ret_made, struct err *err) {
    bool all = true;
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[i]);
        bool ok = !error || error == fine;
        if (ret_made)
            ret_made[i] = !ok ? KAFKA_MISSING : error ? KAFKA_EXISTED : KAFKA_CREATED;
        if (!ok && all) {
            const char *why = rd_kafka_topic_result_error_string(results[i]);
            err_set(err, kafka_err_code(error), BACKEND_KAFKA, "%s %s: %s", doing,
                    rd_kafka_topic_result_name(results[i]), why ? why : rd_kafka_err2str(error));
        }
        all = all && ok;
    }
    return all;
}

static bool create(struct kafka_admin *admin, const struct kafka_new_topics *topics, int timeout_ms, struct err *err) {
    static const char doing[] = "creating topic";
    size_t n = topics->n;
    rd_kafka_NewTopic_t **new_topics = memory_new(n, sizeof(rd_kafka_NewTopic_t *));
    bool ok = true;
    size_t made = 0;
    for (; made < n && ok; made++) {
        char text[200];
        const char *name = topics->name[made];
        new_topics[made] =
            rd_kafka_NewTopic_new(name, topics->partitions, admin->options.replication_factor, text, sizeof text);
        ok = new_topics[made] != NULL;
        if (!ok)
            err_set(err, ERR_INVALID, BACKEND_KAFKA, "%s %s: %s", doing, name, text);
    }
    rd_kafka_event_t *event = NULL;
    if (ok) {
        rd_kafka_AdminOptions_t *options = admin_options(admin, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms);
        rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, NULL, 0);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->rk);
        rd_kafka_CreateTopics(admin->rk, new_topics, n, options, queue);
        event = await(queue, options, doing, topics->name[0], timeout_ms, err);
        ok = event != NULL;
    }
    if (ok) {
        size_t count;
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        /* Another couponsd may have created the topic first. */
        ok = read_results(results, count, RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, doing, topics->made, err);
    }
    if (event)
        rd_kafka_event_destroy(event);
    for (size_t i = 0; i < made; i++)
        if (new_topics[i])
            rd_kafka_NewTopic_destroy(new_topics[i]);
    free(new_topics);
    return ok;
}

static bool exists(struct kafka_admin *admin, const char *topic, int timeout_ms, bool *ret_exists, struct err *err) {
    int partitions = 0;
    if (!kafka_topic_partitions(admin, topic, timeout_ms, &partitions, err))
        return false;
    *ret_exists = partitions > 0;
    return true;
}

/* Sets `made` of the topics that exist. Fails if the broker does not say. */
static bool find_existing(struct kafka_admin *admin, const struct kafka_new_topics *topics, int timeout_ms,
                          enum kafka_made *made, bool *ret_all, struct err *err) {
    *ret_all = true;
    for (size_t i = 0; i < topics->n; i++) {
        bool is_there = made[i] != KAFKA_MISSING;
        if (!is_there && !exists(admin, topics->name[i], timeout_ms, &is_there, err))
            return false;
        if (is_there && made[i] == KAFKA_MISSING)
            made[i] = KAFKA_EXISTED;
        *ret_all = *ret_all && is_there;
    }
    return true;
}

/* Does the same as kafka_topic_create, with room in topics->made. */
static bool create_missing(struct kafka_admin *admin, const struct kafka_new_topics *topics, int timeout_ms,
                           struct err *err) {
    struct err problem;
    bool all = false;
    if (topics->n <= ASK_FIRST_MAX) {
        bool found_out = find_existing(admin, topics, timeout_ms, topics->made, &all, &problem);
        if (found_out && all)
            return true;
        if (!found_out && problem.code != ERR_PERMISSION) { /* no broker answers */
            if (err)
                *err = problem;
            return false;
        }
    }
    if (create(admin, topics, timeout_ms, &problem))
        return true;
    /* Somebody else may have created them: another couponsd, or the people who keep the right to themselves. The broker
     * may also have created them and been too slow to answer. */
    bool may_exist = problem.code == ERR_PERMISSION || topics->n <= ASK_FIRST_MAX;
    if (may_exist && find_existing(admin, topics, timeout_ms, topics->made, &all, NULL) && all)
        return true;
    if (err)
        *err = problem;
    return false;
}

bool kafka_topic_create(struct kafka_admin *admin, const struct kafka_new_topics *topics, int timeout_ms,
                        struct err *err) {
    if (topics->n == 0)
        return true;
    struct kafka_new_topics with_results = *topics;
    enum kafka_made *made = memory_new(topics->n, sizeof *made); /* all KAFKA_MISSING */
    with_results.made = made;
    bool ok = create_missing(admin, &with_results, timeout_ms, err);
    if (topics->made)
        memcpy(topics->made, made, topics->n * sizeof *made);
    free(made);
    return ok;
}

bool kafka_topic_delete(struct kafka_admin *admin, const char *const *topics, size_t n, int timeout_ms,
                        struct err *err) {
    static const char doing[] = "deleting topic";
    if (n == 0)
        return true;
    rd_kafka_DeleteTopic_t **old = memory_new(n, sizeof(rd_kafka_DeleteTopic_t *));
    for (size_t i = 0; i < n; i++)
        old[i] = rd_kafka_DeleteTopic_new(topics[i]);
    rd_kafka_AdminOptions_t *options = admin_options(admin, RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout_ms);
    rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, NULL, 0);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->rk);
    rd_kafka_DeleteTopics(admin->rk, old, n, options, queue);
    rd_kafka_event_t *event = await(queue, options, doing, topics[0], timeout_ms, err);
    bool ok = event != NULL;
    if (ok) {
        size_t count;
        const rd_kafka_topic_result_t **results =
            rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
        ok = read_results(results, count, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, doing, NULL, err);
        rd_kafka_event_destroy(event);
    }
    for (size_t i = 0; i < n; i++)
        rd_kafka_DeleteTopic_destroy(old[i]);
    free(old);
    return ok;
}

/* --- offsets --- */

static rd_kafka_topic_partition_list_t *list_of(const struct kafka_offsets *offsets) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(offsets->n_partitions);
    for (int i = 0; i < offsets->n_partitions; i++)
        rd_kafka_topic_partition_list_add(list, offsets->topic, i);
    return list;
}

static bool list_all_ends(struct kafka_admin *admin, const struct kafka_offsets *offsets, int64_t which, int timeout_ms,
                          int64_t *ret, struct err *err) {
    rd_kafka_topic_partition_list_t *list = list_of(offsets);
    bool ok = kafka_list_offsets(admin->rk, list, which, timeout_ms, err);
    for (int i = 0; i < list->cnt && ok; i++)
        ret[list->elems[i].partition] = list->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return ok;
}

bool kafka_topic_ends(struct kafka_admin *admin, const struct kafka_offsets *offsets, int timeout_ms, struct err *err) {
    return list_all_ends(admin, offsets, RD_KAFKA_OFFSET_BEGINNING, timeout_ms, offsets->low, err) &&
           list_all_ends(admin, offsets, RD_KAFKA_OFFSET_END, timeout_ms, offsets->high, err);
}

/* What follows does not use librdkafka's admin API: its requests to a group's coordinator may abort the
 * process if the coordinator refuses the login (2.0.2). */

bool kafka_completed_offsets(struct kafka_admin *admin, const struct kafka_offsets *offsets, int timeout_ms,
                             struct err *err) {
    rd_kafka_topic_partition_list_t *list = list_of(offsets);
    rd_kafka_resp_err_t error = rd_kafka_committed(admin->rk, list, timeout_ms);
    for (int i = 0; i < list->cnt && !error; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        offsets->next[at->partition] = at->offset >= 0 ? at->offset : -1;
        error = at->err;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return !error || failed(admin, error, err);
}

/* --- groups --- */

/* Reads an integer of n bytes, most significant first. */
static bool take(const uint8_t **at, const uint8_t *end, size_t n, uint32_t *ret) {
    if ((size_t)(end - *at) < n)
        return false;
    *ret = 0;
    for (size_t i = 0; i < n; i++)
        *ret = *ret << 8 | *(*at)++;
    return true;
}

static bool skip(const uint8_t **at, const uint8_t *end, size_t n) {
    if ((size_t)(end - *at) < n)
        return false;
    *at += n;
    return true;
}

/* Counts the partitions in a member's assignment: the version, then each topic with the numbers of its partitions. */
static int partitions_of(const struct rd_kafka_group_member_info *member) {
    const uint8_t *at = member->member_assignment, *end = at + member->member_assignment_size;
    uint32_t version, topics, len, partitions, n = 0;
    if (member->member_assignment_size == 0 || !take(&at, end, 2, &version) || !take(&at, end, 4, &topics))
        return 0;
    for (uint32_t i = 0; i < topics; i++) {
        if (!take(&at, end, 2, &len) || !skip(&at, end, len) || !take(&at, end, 4, &partitions) ||
            !skip(&at, end, 4 * (size_t)partitions))
            break;
        n += partitions;
    }
    return (int)n;
}

/* Returns the number of partitions that the group's members are assigned, or one of these. */
enum { NO_MEMBERS = -1, REBALANCING = -2 };

static int assigned_of(const struct rd_kafka_group_info *group) {
    if (strcmp(group->state, "Empty") == 0 || strcmp(group->state, "Dead") == 0)
        return NO_MEMBERS;
    if (strcmp(group->state, "Stable") != 0)
        return REBALANCING;
    int n = 0;
    for (int i = 0; i < group->member_cnt; i++)
        n += partitions_of(&group->members[i]);
    return n;
}

static bool read_assigned(struct kafka_admin *admin, enum stream stream, int timeout_ms, int *ret_assigned,
                          struct err *err) {
    char name[KAFKA_TOPIC_MAX];
    const struct rd_kafka_group_list *groups;
    kafka_group_name(&admin->options, stream, name);
    rd_kafka_resp_err_t error = rd_kafka_list_groups(admin->rk, name, &groups, timeout_ms);
    /* Partial: a broker does not answer. It is not the group's coordinator if another one knows the group. */
    if (error && error != RD_KAFKA_RESP_ERR__PARTIAL)
        return failed(admin, error, err);
    error = groups->group_cnt ? groups->groups[0].err : RD_KAFKA_RESP_ERR_NO_ERROR;
    *ret_assigned = groups->group_cnt && !error ? assigned_of(&groups->groups[0]) : NO_MEMBERS;
    rd_kafka_group_list_destroy(groups);
    return !error || failed(admin, error, err);
}

bool kafka_group_unassigned(struct kafka_admin *admin, enum stream stream, bool has_members, int timeout_ms,
                            int *ret_unassigned, struct err *err) {
    struct kafka_topic *topics = NULL;
    size_t n = 0;
    int assigned = NO_MEMBERS, partitions = 0;
    if (!read_assigned(admin, stream, timeout_ms, &assigned, err) ||
        !kafka_topic_list(admin, timeout_ms, &topics, &n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (topics[i].stream == stream)
            partitions += topics[i].partitions;
    free(topics);
    if (assigned == NO_MEMBERS && !has_members)
        assigned = 0;
    *ret_unassigned = assigned < 0 ? -1 : partitions > assigned ? partitions - assigned : 0;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* TopicAdminService; see topic_admin_service.h. The perform_ functions run on the queue's thread (api/queued_call.h),
 * with its one connection, since each may wait for Kafka. */
#include "api/topic_admin_service.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/queued_call.h"
#include "base/log.h"
#include "base/memory.h"
#include "coupon/v1/topic_admin_service.pb-c.h"
#include "store/coupons.h"
#include "store/topics.h"

#define QUEUE_SIZE     64
#define TIMEOUT_MS     5000
#define VERSION_MAX    1000000
#define PARTITIONS_MAX 1000 /* the maximum of kafka.partitions */

struct topic_admin_service {
    Coupon__V1__TopicAdminService_Service base; /* first: the stubs hand back a pointer to it */
    const struct kafka_options *kafka;
    struct kafka_admin *admin;
    int lanes;
    struct call_queue *queue;
    struct pg *pg;
    struct arena arena;
};

struct topics_call {
    struct queued_call queued; /* first: the queue hands back a pointer to it */
    int version, partitions;
};

/* --- describing topics --- */

/* Counts the topic's messages that the stream's consumers have not processed. */
static bool lag_of(struct topic_admin_service *topics, enum stream stream, const char *name, int partitions,
                   int64_t *ret_lag, struct err *err) {
    *ret_lag = 0;
    if (partitions == 0)
        return true;
    size_t n = (size_t)partitions;
    int64_t *low = ARENA_ARRAY(&topics->arena, int64_t, n), *high = ARENA_ARRAY(&topics->arena, int64_t, n);
    int64_t *next = ARENA_ARRAY(&topics->arena, int64_t, n);
    const struct kafka_offsets offsets = {name, partitions, low, high, next};
    if (!kafka_topic_ends(topics->admin, &offsets, TIMEOUT_MS, err))
        return false;
    if (!(stream == STREAM_REQUESTED ? topics_issued(topics->pg, name, partitions, next, err)
                                     : kafka_completed_offsets(topics->admin, &offsets, TIMEOUT_MS, err)))
        return false;
    for (size_t i = 0; i < n; i++) {
        int64_t at = next[i] > low[i] ? next[i] : low[i];
        *ret_lag += high[i] > at ? high[i] - at : 0;
    }
    return true;
}

static const struct topic_version *find_version(const struct topic_version *versions, size_t n, int version) {
    for (size_t i = 0; i < n; i++)
        if (versions[i].version == version)
            return &versions[i];
    return NULL;
}

/* Finds out whether the coupon's topics are no longer needed: the coupon is closed, all its tickets are decided, and
 * its events are relayed. *ret_why: what is missing, or NULL. */
static bool coupon_is_done(struct topic_admin_service *topics, int64_t coupon_id, const char **ret_why,
                           struct err *err) {
    struct coupon_detail coupon;
    int64_t waiting = 0;
    enum coupon_outcome outcome = coupon_get(topics->pg, &topics->arena, coupon_id, &coupon, err);
    if (outcome == COUPON_FAILED)
        return false;
    *ret_why = NULL;
    if (outcome == COUPON_OK && !topics_coupon_waiting(topics->pg, coupon_id, &waiting, err))
        return false;
    if (outcome == COUPON_OK && coupon.row.status != COUPON_CLOSED)
        *ret_why = "the coupon is not closed: close it first";
    else if (outcome == COUPON_OK && coupon.row.accepted > coupon.row.issued + coupon.row.rejected)
        *ret_why = "some of its accepted requests are not issued yet: wait for them";
    else if (waiting > 0)
        *ret_why = "some of its events are still in the outbox: wait for them";
    return true;
}

typedef Coupon__V1__Topic__State state_t;
#define STATE(name) COUPON__V1__TOPIC__STATE__STATE_##name

static bool describe(struct topic_admin_service *topics, const struct kafka_topic *topic,
                     const struct topic_version *version, int target, Coupon__V1__Topic *ret, struct err *err) {
    coupon__v1__topic__init(ret);
    ret->name = (char *)(uintptr_t)topic->name; /* packing does not write to it */
    ret->stream = topic->stream == STREAM_REQUESTED ? COUPON__V1__TOPIC__STREAM__STREAM_REQUESTED
                                                    : COUPON__V1__TOPIC__STREAM__STREAM_PUBLISHED;
    ret->version = topic->version;
    ret->coupon_id = topic->coupon_id;
    ret->partitions = topic->partitions;
    if (!lag_of(topics, topic->stream, topic->name, topic->partitions, &ret->lag, err))
        return false;
    state_t drained = ret->lag ? STATE(DRAINING) : STATE(DRAINED);
    if (topic->coupon_id) {
        const char *why;
        if (!coupon_is_done(topics, topic->coupon_id, &why, err))
            return false;
        ret->state = why ? STATE(ACTIVE) : drained;
        return true;
    }
    if (!version) {
        ret->state = STATE(UNKNOWN);
        return true;
    }
    ret->created_partitions = version->partitions;
    ret->lanes = version->lanes[topic->stream];
    ret->state = topic->partitions == 0                     ? STATE(MISSING)
                 : ret->lanes || version->version == target ? STATE(ACTIVE)
                                                            : drained;
    return true;
}

static bool is_listed(const struct kafka_topic *listed, size_t n, enum stream stream, int version) {
    for (size_t i = 0; i < n; i++)
        if (listed[i].stream == stream && listed[i].version == version && listed[i].coupon_id == 0)
            return true;
    return false;
}

static int by_stream_version_coupon(const void *a, const void *b) {
    const struct kafka_topic *x = a, *y = b;
    if (x->stream != y->stream)
        return x->stream < y->stream ? -1 : 1;
    if ((x->coupon_id != 0) != (y->coupon_id != 0))
        return x->coupon_id ? 1 : -1;
    if (x->version != y->version)
        return x->version < y->version ? -1 : 1;
    return x->coupon_id < y->coupon_id ? -1 : x->coupon_id > y->coupon_id;
}

/* Lists the topics that Kafka has, and the shared topics that it should have, in the arena. */
static bool list_topics(struct topic_admin_service *topics, const struct topic_version *versions, size_t n_versions,
                        struct kafka_topic **ret_topics, size_t *ret_n, struct err *err) {
    struct kafka_topic *listed;
    size_t n;
    if (!kafka_topic_list(topics->admin, TIMEOUT_MS, &listed, &n, err))
        return false;
    struct kafka_topic *all = ARENA_ARRAY(&topics->arena, struct kafka_topic, n + STREAMS * n_versions + 1);
    memcpy(all, listed, n * sizeof *all);
    size_t count = n;
    for (size_t i = 0; i < n_versions; i++)
        for (int stream = 0; stream < STREAMS; stream++) {
            if (is_listed(listed, n, (enum stream)stream, versions[i].version))
                continue;
            all[count] = (struct kafka_topic){.stream = (enum stream)stream, .version = versions[i].version};
            kafka_topic_name(topics->kafka, (enum stream)stream, versions[i].version, 0, all[count].name);
            count++;
        }
    free(listed);
    qsort(all, count, sizeof *all, by_stream_version_coupon);
    *ret_topics = all;
    *ret_n = count;
    return true;
}

static bool read_migration(struct topic_admin_service *topics, Coupon__V1__Migration *ret, struct err *err) {
    struct topic_target target;
    if (!topics_target(topics->pg, &target, err))
        return false;
    coupon__v1__migration__init(ret);
    ret->target_version = target.version;
    ret->lanes = STREAMS * topics->lanes;
    ret->lanes_moved = ret->lanes - target.lanes_left[STREAM_REQUESTED] - target.lanes_left[STREAM_PUBLISHED];
    ret->paused = target.paused;
    return true;
}

/* --- the calls, on the queue's thread --- */

static bool refuse(struct topics_call *call, enum reason reason, const char *message) {
    answer_reason(call->queued.rpc, reason, message);
    return true;
}

static bool perform_list(void *service, void *queued, struct err *err) {
    struct topic_admin_service *topics = service;
    struct topics_call *call = queued;
    struct topic_version versions[TOPIC_VERSIONS_MAX];
    struct kafka_topic *listed;
    Coupon__V1__Migration migration;
    size_t n_versions, n;
    if (!topics_versions(topics->pg, versions, &n_versions, err) || !read_migration(topics, &migration, err) ||
        !list_topics(topics, versions, n_versions, &listed, &n, err))
        return false;
    Coupon__V1__Topic *messages = ARENA_ARRAY(&topics->arena, Coupon__V1__Topic, n);
    Coupon__V1__Topic **pointers = ARENA_ARRAY(&topics->arena, Coupon__V1__Topic *, n);
    for (size_t i = 0; i < n; i++) {
        pointers[i] = &messages[i];
        if (!describe(topics, &listed[i], find_version(versions, n_versions, listed[i].version),
                      migration.target_version, &messages[i], err))
            return false;
    }
    Coupon__V1__ListTopicsResponse response = COUPON__V1__LIST_TOPICS_RESPONSE__INIT;
    response.n_topics = n;
    response.topics = pointers;
    response.migration = &migration;
    queued_call_answer(&call->queued, &response.base);
    return true;
}

/* Answers with the migration. Both responses with a migration have the same layout, so one C type serves both. */
static bool answer_migration(struct topic_admin_service *topics, struct topics_call *call,
                             const ProtobufCMessageDescriptor *descriptor, struct err *err) {
    Coupon__V1__Migration migration;
    if (!read_migration(topics, &migration, err))
        return false;
    Coupon__V1__MigrateTopicsResponse response = COUPON__V1__MIGRATE_TOPICS_RESPONSE__INIT;
    response.base.descriptor = descriptor;
    response.migration = &migration;
    queued_call_answer(&call->queued, &response.base);
    return true;
}

/* Creates the topics of a version and records it. *ret_differs: a topic exists with another number of partitions, and
 * the version is not recorded. */
static bool make_version(struct topic_admin_service *topics, int version, int partitions, bool *ret_differs,
                         struct err *err) {
    *ret_differs = false;
    for (int stream = 0; stream < STREAMS; stream++) {
        char name[KAFKA_TOPIC_MAX];
        const char *const names[] = {name};
        int have;
        kafka_topic_name(topics->kafka, (enum stream)stream, version, 0, name);
        const struct kafka_new_topics new_topics = {.n = 1, .name = names, .partitions = partitions};
        if (!kafka_topic_create(topics->admin, &new_topics, TIMEOUT_MS, err) ||
            !kafka_topic_partitions(topics->admin, name, TIMEOUT_MS, &have, err))
            return false;
        /* 0: the topic is so new that this broker does not know it yet. */
        if (have && have != partitions)
            *ret_differs = true;
    }
    return *ret_differs || topics_add_version(topics->pg, version, partitions, err);
}

static bool perform_migrate(void *service, void *queued, struct err *err) {
    struct topic_admin_service *topics = service;
    struct topics_call *call = queued;
    struct topic_version versions[TOPIC_VERSIONS_MAX];
    size_t n;
    if (!topics_versions(topics->pg, versions, &n, err))
        return false;
    const struct topic_version *existing = find_version(versions, n, call->version);
    char message[200];
    int partitions = existing ? existing->partitions : call->partitions;
    bool differs = existing && call->partitions && call->partitions != existing->partitions;
    if (!existing && call->partitions == 0) {
        answer_bad_fields(call->queued.rpc,
                          &(struct rpc_bad_field){"partitions", "must be from 1 to 1000, since this version is new"},
                          1);
        return true;
    }
    if (!differs && !make_version(topics, call->version, partitions, &differs, err)) {
        if (err->code != ERR_CONFLICT)
            return false;
        return refuse(call, REASON_TOPIC_VERSIONS_FULL, err->text);
    }
    if (differs) {
        snprintf(message, sizeof message,
                 "a topic of version %d exists with another number of partitions: choose another version, or leave "
                 "partitions out",
                 call->version);
        return refuse(call, REASON_TOPIC_EXISTS, message);
    }
    if (!topics_set_target(topics->pg, call->version, err))
        return false;
    log_info("topics.migrate", LOG_INT("to_version", call->version), LOG_INT("partitions", partitions));
    return answer_migration(topics, call, &coupon__v1__migrate_topics_response__descriptor, err);
}

static bool perform_pause(void *service, void *queued, struct err *err) {
    struct topic_admin_service *topics = service;
    struct topics_call *call = queued;
    if (!topics_set_paused(topics->pg, true, err))
        return false;
    log_info("topics.paused", LOG_STR("then", "couponctl topics migrate resumes the migration"));
    return answer_migration(topics, call, &coupon__v1__pause_migration_response__descriptor, err);
}

/* The existing topics of a version, or of a coupon, that are to be deleted. */
struct doomed {
    size_t n;
    char names[STREAMS][KAFKA_TOPIC_MAX];
    const char *pointers[STREAMS];
    int64_t lag; /* messages in all of them that consumers have not processed */
};

static bool find_doomed(struct topic_admin_service *topics, int version, int64_t coupon_id, struct doomed *ret,
                        struct err *err) {
    *ret = (struct doomed){0};
    for (int stream = 0; stream < STREAMS; stream++) {
        char *name = ret->names[ret->n];
        int partitions;
        int64_t lag;
        kafka_topic_name(topics->kafka, (enum stream)stream, version, coupon_id, name);
        if (!kafka_topic_partitions(topics->admin, name, TIMEOUT_MS, &partitions, err) ||
            !lag_of(topics, (enum stream)stream, name, partitions, &lag, err))
            return false;
        ret->lag += lag;
        if (partitions > 0) {
            ret->pointers[ret->n] = name;
            ret->n++;
        }
    }
    return true;
}

/* Deletes the topics and answers with their names. `version` is 0 for a coupon's own topics. Both responses with names
 * have the same layout, so one C type serves both. */
static bool destroy(struct topic_admin_service *topics, struct topics_call *call, const struct doomed *doomed,
                    int version, const ProtobufCMessageDescriptor *descriptor, struct err *err) {
    if (!kafka_topic_delete(topics->admin, doomed->pointers, doomed->n, TIMEOUT_MS, err) ||
        !topics_forget(topics->pg, doomed->pointers, doomed->n, version, err))
        return false;
    for (size_t i = 0; i < doomed->n; i++)
        log_info("topics.deleted", LOG_STR("topic", doomed->names[i]));
    char *names[STREAMS];
    for (size_t i = 0; i < doomed->n; i++)
        names[i] = (char *)(uintptr_t)doomed->pointers[i]; /* packing does not write to it */
    Coupon__V1__DeleteTopicsResponse response = COUPON__V1__DELETE_TOPICS_RESPONSE__INIT;
    response.base.descriptor = descriptor;
    response.n_topics = doomed->n;
    response.topics = names;
    queued_call_answer(&call->queued, &response.base);
    return true;
}

static bool refuse_lag(struct topics_call *call, const struct doomed *doomed) {
    char message[160];
    snprintf(message, sizeof message, "%" PRId64 " messages have not been consumed yet: wait for them", doomed->lag);
    return refuse(call, REASON_TOPIC_NOT_DRAINED, message);
}

static bool perform_delete(void *service, void *queued, struct err *err) {
    struct topic_admin_service *topics = service;
    struct topics_call *call = queued;
    struct topic_version versions[TOPIC_VERSIONS_MAX];
    struct topic_target target;
    struct doomed doomed;
    size_t n;
    if (!topics_versions(topics->pg, versions, &n, err) || !topics_target(topics->pg, &target, err) ||
        !find_doomed(topics, call->version, 0, &doomed, err))
        return false;
    const struct topic_version *version = find_version(versions, n, call->version);
    if (!version && doomed.n == 0)
        return refuse(call, REASON_TOPIC_NOT_FOUND, "there are no topics of this version");
    if (call->version == target.version)
        return refuse(call, REASON_TOPIC_IN_USE, "lanes publish to this version: migrate to another one first");
    if (version && version->lanes[STREAM_REQUESTED] + version->lanes[STREAM_PUBLISHED] > 0)
        return refuse(call, REASON_TOPIC_IN_USE,
                      "some lanes still publish to this version: wait for the migration, or continue it");
    if (doomed.lag > 0)
        return refuse_lag(call, &doomed);
    return destroy(topics, call, &doomed, call->version, &coupon__v1__delete_topics_response__descriptor, err);
}

static bool perform_retire(void *service, void *queued, struct err *err) {
    struct topic_admin_service *topics = service;
    struct topics_call *call = queued;
    struct doomed doomed;
    const char *why;
    if (!coupon_is_done(topics, call->queued.coupon_id, &why, err) ||
        !find_doomed(topics, 1, call->queued.coupon_id, &doomed, err))
        return false;
    if (doomed.n == 0)
        return refuse(call, REASON_TOPIC_NOT_FOUND, "this coupon has no topics of its own");
    if (why)
        return refuse(call, REASON_TOPIC_IN_USE, why);
    if (doomed.lag > 0)
        return refuse_lag(call, &doomed);
    return destroy(topics, call, &doomed, 0, &coupon__v1__retire_coupon_topics_response__descriptor, err);
}

/* --- the service functions, on a poller's thread --- */

static struct topics_call *call_of(ProtobufCClosure closure, void *closure_data,
                                   bool (*perform)(void *service, void *call, struct err *err)) {
    return queued_call_new(closure_data, sizeof(struct topics_call), closure, perform);
}

static void enqueue(Coupon__V1__TopicAdminService_Service *base, struct topics_call *call,
                    const struct rpc_bad_fields *bad) {
    struct topic_admin_service *topics = (struct topic_admin_service *)base;
    queued_call_enqueue(&call->queued, topics->queue, bad);
}

static void check_version(struct rpc_bad_fields *bad, int version) {
    bad_fields_check(bad, version >= 1 && version <= VERSION_MAX, "version", "must be from 1 to 1000000");
}

static void service_list_topics(Coupon__V1__TopicAdminService_Service *base, const Coupon__V1__ListTopicsRequest *input,
                                Coupon__V1__ListTopicsResponse_Closure closure, void *closure_data) {
    (void)input;
    enqueue(base, call_of(ANSWER_CLOSURE(closure), closure_data, perform_list), &(struct rpc_bad_fields){0});
}

static void service_migrate_topics(Coupon__V1__TopicAdminService_Service *base,
                                   const Coupon__V1__MigrateTopicsRequest *input,
                                   Coupon__V1__MigrateTopicsResponse_Closure closure, void *closure_data) {
    struct topics_call *call = call_of(ANSWER_CLOSURE(closure), closure_data, perform_migrate);
    struct rpc_bad_fields bad = {0};
    call->version = input->version;
    call->partitions = input->partitions;
    check_version(&bad, input->version);
    bad_fields_check(&bad, input->partitions >= 0 && input->partitions <= PARTITIONS_MAX, "partitions",
                     "must be from 1 to 1000, or 0 for those of a version that exists");
    enqueue(base, call, &bad);
}

static void service_pause_migration(Coupon__V1__TopicAdminService_Service *base,
                                    const Coupon__V1__PauseMigrationRequest *input,
                                    Coupon__V1__PauseMigrationResponse_Closure closure, void *closure_data) {
    (void)input;
    enqueue(base, call_of(ANSWER_CLOSURE(closure), closure_data, perform_pause), &(struct rpc_bad_fields){0});
}

static void service_delete_topics(Coupon__V1__TopicAdminService_Service *base,
                                  const Coupon__V1__DeleteTopicsRequest *input,
                                  Coupon__V1__DeleteTopicsResponse_Closure closure, void *closure_data) {
    struct topics_call *call = call_of(ANSWER_CLOSURE(closure), closure_data, perform_delete);
    struct rpc_bad_fields bad = {0};
    call->version = input->version;
    check_version(&bad, input->version);
    enqueue(base, call, &bad);
}

static void service_retire_coupon_topics(Coupon__V1__TopicAdminService_Service *base,
                                         const Coupon__V1__RetireCouponTopicsRequest *input,
                                         Coupon__V1__RetireCouponTopicsResponse_Closure closure, void *closure_data) {
    struct topics_call *call = call_of(ANSWER_CLOSURE(closure), closure_data, perform_retire);
    struct rpc_bad_fields bad = {0};
    call->queued.coupon_id = input->coupon_id;
    bad_fields_check(&bad, input->coupon_id > 0, "coupon_id", "must be positive");
    enqueue(base, call, &bad);
}

/* --- start and stop --- */

bool topic_admin_service_start(struct context *context, ProtobufCService **ret_service, struct err *err) {
    static const Coupon__V1__TopicAdminService_Service base = COUPON__V1__TOPIC_ADMIN_SERVICE__INIT(service_);
    struct topic_admin_service *topics = memory_new(1, sizeof *topics);
    topics->base = base;
    topics->kafka = &context->kafka;
    topics->admin = context->kafka_admin;
    topics->lanes = (int)context->config->flow_lanes;
    topics->pg = pg_new(&context->cold);
    arena_init(&topics->arena, 64 * 1024);
    if (!call_queue_start(&(struct call_queue_options){.name = "topics",
                                                       .failure_event = "topics.failed",
                                                       .size = QUEUE_SIZE,
                                                       .batch_max = 1,
                                                       .service = topics,
                                                       .pg = topics->pg,
                                                       .arena = &topics->arena},
                          &topics->queue, err)) {
        topic_admin_service_stop(&topics->base.base);
        return false;
    }
    *ret_service = &topics->base.base;
    return true;
}

void topic_admin_service_stop(ProtobufCService *service) {
    struct topic_admin_service *topics = (struct topic_admin_service *)service;
    if (!topics)
        return;
    call_queue_stop(topics->queue);
    pg_free(topics->pg);
    arena_deinit(&topics->arena);
    free(topics);
}

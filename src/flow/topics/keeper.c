/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper of the topics; see keeper.h. Its ticker's thread owns everything. The keeper does not log a failed
 * backend: the steps that work with the backend do. `lock` guards `problem`, and is held to copy it only. */
#include "flow/topics/keeper.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/ticker.h"
#include "flow/relay.h"
#include "store/topics.h"

#define INTERVAL_US   US_PER_S
#define TIMEOUT_MS    2000
#define LOOKS         2
#define REJOIN_MIN_US (2 * US_PER_S)
#define REJOIN_MAX_US (5 * 60 * US_PER_S)

struct told {
    int version, partitions;
};

/* The last look at a stream's group. */
struct group_look {
    unsigned assignments; /* of the group's members here, before the look */
    int unassigned;       /* partitions; -1: unknown */
    int same;             /* looks in a row with these assignments, and with or without unassigned partitions */
    /* The members joined again without success: wait longer each time. */
    int64_t wait_us, next_us;
};

struct topics_keeper {
    struct ticker *ticker;
    struct pg *pg;
    const struct kafka_options *kafka;
    struct kafka_admin *admin;
    struct relay *const *relays;
    struct kafka_group *groups;
    bool has_member[STREAMS]; /* this process consumes the stream */
    struct group_look looks[STREAMS];
    struct told told[STREAMS][TOPIC_VERSIONS_MAX];
    struct metric *grown, *lanes_left;
    pthread_mutex_t lock;
    char problem[TOPICS_KEEPER_TEXT_SIZE]; /* "": none */
};

static void tell(const char *name, struct told *told, const struct topic_version *version, int have) {
    if (told->version == version->version && told->partitions == have)
        return;
    *told = (struct told){version->version, have};
    log_error("topics.grown", LOG_STR("topic", name), LOG_INT("partitions", have),
              LOG_INT("created_with", version->partitions),
              LOG_STR("effect", "coupons may have moved to other partitions: nothing is lost or issued twice, but "
                                "consumers may see a coupon's events out of order"),
              LOG_STR("then", "run couponctl topics migrate to a new version with the wanted number of partitions, and "
                              "delete this version afterwards"));
}

/* Returns how many topics have another number of partitions than they were created with, or -1 if that is unknown. */
static int compare(struct topics_keeper *keeper, const struct topic_version *versions, size_t n,
                   char ret_problem[static TOPICS_KEEPER_TEXT_SIZE]) {
    int grown = 0;
    *ret_problem = '\0';
    for (size_t i = 0; i < n; i++)
        for (int stream = 0; stream < STREAMS; stream++) {
            char name[KAFKA_TOPIC_MAX];
            int have;
            struct err err;
            kafka_topic_name(keeper->kafka, (enum stream)stream, versions[i].version, 0, name);
            if (!kafka_topic_partitions(keeper->admin, name, TIMEOUT_MS, &have, &err)) {
                snprintf(ret_problem, TOPICS_KEEPER_TEXT_SIZE, "%.*s", TOPICS_KEEPER_TEXT_SIZE - 1, err.text);
                return -1;
            }
            if (have == 0) { /* somebody has deleted it, or couponsd could not create it */
                snprintf(ret_problem, TOPICS_KEEPER_TEXT_SIZE, "there is no topic %s", name);
                relay_check_topics(keeper->relays[stream]);
            }
            if (have == 0 || have == versions[i].partitions)
                continue;
            grown++;
            tell(name, &keeper->told[stream][i], &versions[i], have);
        }
    return grown;
}

static void join_again(struct topics_keeper *keeper, enum stream stream, struct group_look *look) {
    enum log_level level = look->wait_us ? LOG_LEVEL_WARN : LOG_LEVEL_INFO; /* once is usual for new topics */
    LOG_AT(level, "topics.unassigned", LOG_STR("stream", stream == STREAM_REQUESTED ? "requested" : "published"),
           LOG_INT("partitions", look->unassigned), LOG_STR("then", "the group's members join again"));
    look->unassigned = -1;
    look->wait_us = look->wait_us ? 2 * look->wait_us : REJOIN_MIN_US;
    if (look->wait_us > REJOIN_MAX_US)
        look->wait_us = REJOIN_MAX_US;
    look->next_us = clock_mono_us() + look->wait_us;
    atomic_fetch_add(&keeper->groups[stream].rejoins, 1);
}

/* Makes the group of a stream assign its partitions anew if nobody reads some of them. Two looks in a row have to
 * agree, since a broker may not have heard of a new topic yet. If they agree that nothing is unassigned, waits for the
 * next assignment. Returns false if Kafka does not answer. */
static bool look_at_group(struct topics_keeper *keeper, enum stream stream) {
    struct group_look *look = &keeper->looks[stream];
    unsigned assignments = atomic_load(&keeper->groups[stream].assignments);
    int unassigned;
    if (!keeper->has_member[stream] || clock_mono_us() < look->next_us ||
        (look->assignments == assignments && look->unassigned == 0 && look->same >= LOOKS))
        return true;
    if (!kafka_group_unassigned(keeper->admin, stream, assignments > 0, TIMEOUT_MS, &unassigned, NULL))
        return false;
    bool is_same = look->assignments == assignments && look->unassigned >= 0 && unassigned >= 0 &&
                   (look->unassigned > 0) == (unassigned > 0);
    look->same = is_same ? look->same + 1 : 1;
    look->assignments = assignments;
    look->unassigned = unassigned;
    if (unassigned < 0 || look->same < LOOKS)
        return true;
    if (unassigned > 0)
        join_again(keeper, stream, look);
    else
        look->wait_us = 0;
    return true;
}

static void look(void *arg) {
    struct topics_keeper *keeper = arg;
    for (int stream = 0; stream < STREAMS; stream++)
        if (!look_at_group(keeper, (enum stream)stream))
            break; /* Kafka would not answer the next question either */
    struct topic_version versions[TOPIC_VERSIONS_MAX];
    struct topic_target target;
    size_t n;
    if (!pg_connect(keeper->pg, NULL) || !topics_versions(keeper->pg, versions, &n, NULL) ||
        !topics_target(keeper->pg, &target, NULL))
        return;
    metric_set(keeper->lanes_left, target.lanes_left[STREAM_REQUESTED] + target.lanes_left[STREAM_PUBLISHED]);
    char problem[TOPICS_KEEPER_TEXT_SIZE];
    int grown = compare(keeper, versions, n, problem);
    pthread_mutex_lock(&keeper->lock);
    memcpy(keeper->problem, problem, sizeof problem);
    pthread_mutex_unlock(&keeper->lock);
    if (grown >= 0)
        metric_set(keeper->grown, grown);
}

bool topics_keeper_start(struct context *context, struct topics_keeper **ret_keeper, struct err *err) {
    struct topics_keeper *keeper = memory_new(1, sizeof *keeper);
    *keeper = (struct topics_keeper){
        .pg = pg_new(&context->cold),
        .kafka = &context->kafka,
        .admin = context->kafka_admin,
        .relays = context->relays,
        .groups = context->groups,
        .has_member =
            {[STREAM_REQUESTED] = context->config->issue_run, [STREAM_PUBLISHED] = context->config->complete_run},
        .looks = {[STREAM_REQUESTED] = {.unassigned = -1}, [STREAM_PUBLISHED] = {.unassigned = -1}},
        .grown = metrics_gauge(
            "couponsd_topics_grown",
            "Shared topics with another number of partitions than they were created with; the log has the details.",
            ""),
        .lanes_left = metrics_gauge("couponsd_topic_migration_lanes_left",
                                    "Lanes that do not yet publish to the target version of their topic.", ""),
    };
    pthread_mutex_init(&keeper->lock, NULL);
    if (!ticker_start("topics_keeper", INTERVAL_US, look, keeper, &keeper->ticker, err)) {
        topics_keeper_free(keeper);
        return false;
    }
    *ret_keeper = keeper;
    return true;
}

bool topics_keeper_tell(struct topics_keeper *keeper, char text[static TOPICS_KEEPER_TEXT_SIZE]) {
    pthread_mutex_lock(&keeper->lock);
    memcpy(text, keeper->problem, sizeof keeper->problem);
    pthread_mutex_unlock(&keeper->lock);
    return *text == '\0';
}

void topics_keeper_stop(struct topics_keeper *keeper) {
    if (!keeper)
        return;
    ticker_stop(keeper->ticker);
    keeper->ticker = NULL;
}

void topics_keeper_free(struct topics_keeper *keeper) {
    if (!keeper)
        return;
    topics_keeper_stop(keeper);
    pg_free(keeper->pg);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Prepares the topics; see prepare.h. Runs on the main thread, once, with a connection of its own. */
#include "flow/topics/prepare.h"

#include "store/topics.h"

#define TIMEOUT_MS 3000

/* Records version 1 in a new database, unless Kafka already has these topics with another number of partitions. */
static bool record_first_version(const struct context *context, struct pg *pg, struct err *err) {
    const struct config *config = context->config;
    for (int stream = 0; stream < STREAMS; stream++) {
        char name[KAFKA_TOPIC_MAX];
        int have;
        struct err unreachable;
        kafka_topic_name(&context->kafka, (enum stream)stream, 1, 0, name);
        if (!kafka_topic_partitions(context->kafka_admin, name, TIMEOUT_MS, &have, &unreachable)) {
            if (unreachable.code != ERR_INVALID)
                break; /* Kafka is unavailable or does not say: the keeper compares later */
            *err = unreachable;
            return false;
        }
        if (have && have != config->kafka_partitions)
            return err_set(err, ERR_INVALID, BACKEND_KAFKA,
                           "topic %s has %d partitions, but kafka.partitions = %d: set kafka.partitions = %d", name,
                           have, (int)config->kafka_partitions, have);
    }
    return topics_add_version(pg, 1, (int)config->kafka_partitions, err);
}

static bool check_versions(const struct config *config, const struct topic_version *versions, size_t n, int target,
                           struct err *err) {
    const struct topic_version *first = n && versions[0].version == 1 ? &versions[0] : NULL;
    /* After a migration, kafka.partitions no longer matters. */
    if (!first || target != 1 || first->partitions == config->kafka_partitions)
        return true;
    return err_set(err, ERR_INVALID, BACKEND_KAFKA,
                   "the topics of this database were created with %d partitions, but kafka.partitions = %d: set "
                   "kafka.partitions = %d; couponctl topics migrate changes their number",
                   first->partitions, (int)config->kafka_partitions, first->partitions);
}

static bool create_versions(const struct context *context, const struct topic_version *versions, size_t n,
                            struct err *err) {
    for (size_t i = 0; i < n; i++) {
        char names[STREAMS][KAFKA_TOPIC_MAX];
        const char *pointers[STREAMS];
        for (int stream = 0; stream < STREAMS; stream++) {
            kafka_topic_name(&context->kafka, (enum stream)stream, versions[i].version, 0, names[stream]);
            pointers[stream] = names[stream];
        }
        const struct kafka_new_topics topics = {.n = STREAMS, .name = pointers, .partitions = versions[i].partitions};
        if (!kafka_topic_create(context->kafka_admin, &topics, TIMEOUT_MS, err))
            return false;
    }
    return true;
}

bool topics_prepare(const struct context *context, struct err *err) {
    struct topic_version versions[TOPIC_VERSIONS_MAX];
    struct topic_target target;
    size_t n;
    struct pg *pg = pg_new(&context->cold);
    bool ok = pg_connect(pg, err) && topics_versions(pg, versions, &n, err);
    if (ok && n == 0)
        ok = record_first_version(context, pg, err) && topics_versions(pg, versions, &n, err);
    ok = ok && topics_target(pg, &target, err) && check_versions(context->config, versions, n, target.version, err) &&
         create_versions(context, versions, n, err);
    pg_free(pg);
    return ok;
}

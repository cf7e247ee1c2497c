/* SPDX-License-Identifier: Apache-2.0 */
/* Coupons' own topics; see coupon_topics.h.
 *
 * There is one request at a time, in `ids`, `n`, `made`, `ok` and `err`. It belongs to the relay's thread, except while
 * `state` is ASKED: then it belongs to the thread that creates topics. `lock` guards `state` and `stopping`. Everything
 * else belongs to the relay's thread. */
#include "flow/relay/coupon_topics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/heart.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/murmur2.h"
#include "base/outage.h"
#include "base/pair_set.h"
#include "base/thread.h"
#include "store/topics.h"

#define TIMEOUT_MS 3000
/* How long a refusal holds. Somebody may give couponsd the right meanwhile. */
#define REFUSED_US (10 * US_PER_S)

struct topic_refusal {
    int64_t coupon_id;
    int64_t until_us; /* monotonic */
};

enum request_state { IDLE, ASKED, ANSWERED };

struct coupon_topics {
    struct coupon_topics_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum request_state state;
    bool stopping;
    /* The request. */
    int64_t *ids;
    size_t n;
    enum kafka_made *made;
    bool ok;
    struct err err;
    struct topic_refusal *refusals; /* ascending by coupon */
    size_t n_refusals;
    struct outage outage; /* for the limit of the log alone */
};

/* --- the thread that creates topics --- */

static void create(struct coupon_topics *topics) {
    char(*names)[KAFKA_TOPIC_MAX] = memory_new(topics->n, sizeof *names);
    const char **pointers = memory_new(topics->n, sizeof *pointers);
    for (size_t i = 0; i < topics->n; i++) {
        kafka_topic_name(topics->options.kafka, topics->options.stream, 1, topics->ids[i], names[i]);
        pointers[i] = names[i];
    }
    const struct kafka_new_topics new_topics = {topics->n, pointers, topics->options.partitions, topics->made};
    topics->ok = kafka_topic_create(topics->options.admin, &new_topics, TIMEOUT_MS, &topics->err);
    free(pointers);
    free(names);
}

static void wake_relay(const struct coupon_topics *topics) {
    static const uint64_t one = 1;
    if (write(topics->options.wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full: the relay is awake */
}

static void *work(void *arg) {
    struct coupon_topics *topics = arg;
    struct heart *heart = heart_new("coupon_topics");
    pthread_mutex_lock(&topics->lock);
    while (!topics->stopping) {
        if (topics->state != ASKED) {
            heart_rest(heart);
            pthread_cond_wait(&topics->changed, &topics->lock);
            continue;
        }
        pthread_mutex_unlock(&topics->lock);
        heart_work(heart);
        create(topics);
        pthread_mutex_lock(&topics->lock);
        topics->state = ANSWERED;
        wake_relay(topics);
    }
    pthread_mutex_unlock(&topics->lock);
    heart_free(heart);
    return NULL;
}

static void topics_free(struct coupon_topics *topics) {
    pthread_mutex_destroy(&topics->lock);
    pthread_cond_destroy(&topics->changed);
    free(topics->ids);
    free(topics->made);
    free(topics->refusals);
    free(topics);
}

bool coupon_topics_start(const struct coupon_topics_options *options, struct coupon_topics **ret_topics,
                         struct err *err) {
    struct coupon_topics *topics = memory_new(1, sizeof *topics);
    topics->options = *options;
    pthread_mutex_init(&topics->lock, NULL);
    pthread_cond_init(&topics->changed, NULL);
    if (!thread_start("coupon_topics", work, topics, &topics->thread, err)) {
        topics_free(topics);
        return false;
    }
    *ret_topics = topics;
    return true;
}

void coupon_topics_stop(struct coupon_topics *topics) {
    if (!topics)
        return;
    pthread_mutex_lock(&topics->lock);
    topics->stopping = true;
    pthread_cond_signal(&topics->changed);
    pthread_mutex_unlock(&topics->lock);
    pthread_join(topics->thread, NULL);
    topics_free(topics);
}

/* --- refusals --- */

static int by_coupon(const void *a, const void *b) {
    const struct topic_refusal *x = a, *y = b;
    return x->coupon_id < y->coupon_id ? -1 : x->coupon_id > y->coupon_id;
}

static struct topic_refusal *refusal_of(const struct coupon_topics *topics, int64_t coupon_id) {
    const struct topic_refusal key = {.coupon_id = coupon_id};
    return topics->n_refusals ? bsearch(&key, topics->refusals, topics->n_refusals, sizeof key, by_coupon) : NULL;
}

bool coupon_topics_is_refused(const struct coupon_topics *topics, int64_t coupon_id) {
    return refusal_of(topics, coupon_id) != NULL;
}

/* Learns from the answer, and forgets the refusals of coupons that have had no event for long. */
static void note_refusals(struct coupon_topics *topics) {
    int64_t now_us = clock_mono_us();
    size_t n_new = 0, n = 0;
    topics->refusals = memory_resize(topics->refusals, topics->n_refusals + topics->n + 1, sizeof *topics->refusals);
    for (size_t i = 0; i < topics->n; i++) {
        struct topic_refusal *old = refusal_of(topics, topics->ids[i]);
        bool is_missing = topics->made[i] == KAFKA_MISSING;
        if (old)
            old->until_us = is_missing ? now_us + REFUSED_US : INT64_MIN;
        else if (is_missing && !topics->err.retriable)
            topics->refusals[topics->n_refusals + n_new++] =
                (struct topic_refusal){topics->ids[i], now_us + REFUSED_US};
    }
    for (size_t i = 0; i < topics->n_refusals + n_new; i++)
        if (topics->refusals[i].until_us > now_us - REFUSED_US)
            topics->refusals[n++] = topics->refusals[i];
    topics->n_refusals = n;
    qsort(topics->refusals, n, sizeof *topics->refusals, by_coupon);
}

/* --- requests and answers --- */

static bool is_in_state(struct coupon_topics *topics, enum request_state state) {
    pthread_mutex_lock(&topics->lock);
    bool is = topics->state == state;
    pthread_mutex_unlock(&topics->lock);
    return is;
}

void coupon_topics_want(struct coupon_topics *topics, struct arena *arena, const struct kafka_producer *producer,
                        const struct outbox_entry *entries, size_t n) {
    if (!is_in_state(topics, IDLE))
        return; /* lanes wait for this answer, and ask again then */
    struct pair_set seen;
    int64_t now_us = clock_mono_us(), *ids = ARENA_ARRAY(arena, int64_t, n);
    size_t n_ids = 0;
    pair_set_init(&seen, arena, n);
    for (size_t i = 0; i < n; i++) {
        if (kafka_producer_has_topic(producer, entries[i].coupon_id) || !pair_set_add(&seen, entries[i].coupon_id, 0))
            continue;
        const struct topic_refusal *refusal = refusal_of(topics, entries[i].coupon_id);
        if (!refusal || refusal->until_us <= now_us)
            ids[n_ids++] = entries[i].coupon_id;
    }
    if (n_ids == 0)
        return;
    topics->ids = memory_resize(topics->ids, n_ids, sizeof *topics->ids);
    topics->made = memory_resize(topics->made, n_ids, sizeof *topics->made);
    memcpy(topics->ids, ids, n_ids * sizeof *ids);
    memset(topics->made, 0, n_ids * sizeof *topics->made);
    topics->n = n_ids;
    pthread_mutex_lock(&topics->lock);
    topics->state = ASKED;
    pthread_cond_signal(&topics->changed);
    pthread_mutex_unlock(&topics->lock);
}

static bool restart_offsets(struct coupon_topics *topics, struct pg *pg, struct err *err) {
    for (size_t i = 0; i < topics->n && topics->options.stream == STREAM_REQUESTED; i++) {
        char name[KAFKA_TOPIC_MAX];
        kafka_topic_name(topics->options.kafka, topics->options.stream, 1, topics->ids[i], name);
        if (topics->made[i] == KAFKA_CREATED && !topics_restart(pg, name, err))
            return false;
    }
    return true;
}

static void tell(struct coupon_topics *topics) {
    if (!topics->ok && outage_failed(&topics->outage))
        log_warn("relay.no_coupon_topic", LOG_STR("stream", topics->options.stream_name), LOG_ERR(&topics->err),
                 LOG_STR("then", topics->err.retriable ? "the lanes of these coupons wait; other lanes go on"
                                                       : "these coupons use the shared topic"));
}

bool coupon_topics_take(struct coupon_topics *topics, struct pg *pg, struct kafka_producer *producer, bool *ret_any,
                        struct err *err) {
    *ret_any = is_in_state(topics, ANSWERED);
    if (!*ret_any)
        return true;
    if (!restart_offsets(topics, pg, err))
        return false;
    tell(topics);
    note_refusals(topics);
    for (size_t i = 0; i < topics->n; i++)
        if (topics->made[i] != KAFKA_MISSING)
            kafka_producer_open_topic(producer, topics->ids[i]);
        else if (topics->err.retriable && !refusal_of(topics, topics->ids[i]))
            lane_pause_for_topic(&topics->options.lanes[murmur2_slot_of_id(topics->ids[i], topics->options.n_lanes)]);
    for (int i = 0; i < topics->options.n_lanes; i++)
        topics->options.lanes[i].awaits_topic = false;
    pthread_mutex_lock(&topics->lock);
    topics->state = IDLE;
    pthread_mutex_unlock(&topics->lock);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The search of the topics; see integrity_topics.h. The queue's thread of IntegrityService does all the work. */
#include "api/integrity_topics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/murmur2.h"
#include "model/event.h"
#include "store/kafka_scan.h"
#include "store/topics.h"

#define DETAIL_MAX       400 /* bytes */
#define ADMIN_TIMEOUT_MS 5000
/* The greatest number of partitions to search: up to 1000 of a coupon's own topic (kafka.coupon_partitions), and one or
 * two of each version of the shared topic. */
#define SPANS_MAX 1100
#define ASK_EVERY 1000 /* messages between two calls of is_over */

/* --- checks --- */

static void add(struct checks *checks, const char *name, Coupon__V1__Check__Result result, const char *format,
                va_list args) {
    if (checks->n == CHECKS_MAX)
        abort(); /* a defect: CHECKS_MAX is too small */
    Coupon__V1__Check *check = ARENA_ARRAY(checks->arena, Coupon__V1__Check, 1);
    coupon__v1__check__init(check);
    check->name = (char *)(uintptr_t)name; /* packing does not write to it */
    check->result = result;
    check->detail = arena_alloc(checks->arena, DETAIL_MAX);
    vsnprintf(check->detail, DETAIL_MAX, format, args);
    checks->items[checks->n++] = check;
}

void checks_tell(struct checks *checks, const char *name, bool holds, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add(checks, name, holds ? COUPON__V1__CHECK__RESULT__RESULT_OK : COUPON__V1__CHECK__RESULT__RESULT_FAILED, format,
        args);
    va_end(args);
}

void checks_skip(struct checks *checks, const char *name, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add(checks, name, COUPON__V1__CHECK__RESULT__RESULT_SKIPPED, format, args);
    va_end(args);
}

/* --- tickets --- */

void tickets_init(struct tickets *tickets, struct arena *arena, int64_t max) {
    *tickets = (struct tickets){.bits = arena_zalloc(arena, ((size_t)max / 64 + 1) * sizeof(uint64_t)), .max = max};
}

void tickets_add(struct tickets *tickets, int64_t first, int64_t last) {
    for (int64_t ticket = first < 1 ? 1 : first; ticket <= last && ticket <= tickets->max; ticket++) {
        uint64_t bit = UINT64_C(1) << (ticket % 64), *word = &tickets->bits[ticket / 64];
        tickets->n += !(*word & bit);
        *word |= bit;
    }
}

bool tickets_remove(struct tickets *tickets, int64_t ticket) {
    if (ticket < 1 || ticket > tickets->max)
        return false;
    uint64_t bit = UINT64_C(1) << (ticket % 64), *word = &tickets->bits[ticket / 64];
    bool was_there = *word & bit;
    tickets->n -= was_there;
    *word &= ~bit;
    return was_there;
}

/* Returns the lowest ticket of the set, or 0 if it is empty. */
static int64_t tickets_first(const struct tickets *tickets) {
    for (int64_t at = 0; at <= tickets->max / 64; at++)
        if (tickets->bits[at])
            return at * 64 + __builtin_ctzll(tickets->bits[at]);
    return 0;
}

/* --- finding a coupon's partitions --- */

struct coupon_spans {
    size_t n;
    struct kafka_span spans[SPANS_MAX];
    bool has_own;          /* the coupon's own topic exists */
    int versions, highest; /* of the shared topic: how many exist, and the highest one */
};

static void add_span(struct coupon_spans *places, const char *topic, int32_t partition) {
    if (places->n < SPANS_MAX)
        places->spans[places->n++] = (struct kafka_span){.topic = topic, .partition = partition};
}

/* Adds the coupon's partition of a shared topic. If partitions were added to the topic by hand, its earlier events may
 * be in another partition, which is added too. `created` is the topic's original number of partitions; 0: unknown. */
static void add_shared(struct coupon_spans *places, const struct kafka_topic *topic, int64_t coupon_id, int created) {
    int32_t partition = murmur2_slot_of_id(coupon_id, topic->partitions);
    places->versions++;
    places->highest = topic->version > places->highest ? topic->version : places->highest;
    add_span(places, topic->name, partition);
    if (created && created < topic->partitions && murmur2_slot_of_id(coupon_id, created) != partition)
        add_span(places, topic->name, murmur2_slot_of_id(coupon_id, created));
}

static int created_partitions(const struct topic_version *versions, size_t n, int version) {
    for (size_t i = 0; i < n; i++)
        if (versions[i].version == version)
            return versions[i].partitions;
    return 0;
}

/* The topics in Kafka, and the versions in the database. */
struct topic_lists {
    struct kafka_topic *topics;
    struct topic_version versions[TOPIC_VERSIONS_MAX];
    size_t n_topics, n_versions;
};

static void find_spans(const struct topic_check *check, enum stream stream, const struct topic_lists *known,
                       struct coupon_spans *places) {
    for (size_t i = 0; i < known->n_topics; i++) {
        const struct kafka_topic *topic = &known->topics[i];
        if (topic->stream != stream || topic->partitions == 0)
            continue;
        if (topic->coupon_id == 0)
            add_shared(places, topic, check->coupon_id,
                       created_partitions(known->versions, known->n_versions, topic->version));
        else if (topic->coupon_id == check->coupon_id) {
            places->has_own = true;
            for (int32_t partition = 0; partition < topic->partitions; partition++)
                add_span(places, topic->name, partition);
        }
    }
}

/* --- reading the partitions --- */

struct search {
    const struct topic_check *check;
    enum stream stream;
    struct tickets *tickets;
    int64_t messages, events;
};

static bool on_message(void *arg, const struct kafka_message *message) {
    struct search *search = arg;
    struct event event;
    if (!message || search->messages % ASK_EVERY == 0)
        if (search->check->is_over(search->check->is_over_arg))
            return false;
    if (!message)
        return true;
    search->messages++;
    if (event_read(search->stream, message->value, message->value_len, &event) &&
        event.coupon_id == search->check->coupon_id) {
        search->events++;
        tickets_remove(search->tickets, event.ticket);
    }
    return search->tickets->n > 0;
}

/* Returns why a ticket that was not found may still have been in the topic, or NULL if there is no such reason. */
static const char *excuse(const struct topic_check *check, const struct coupon_spans *places) {
    for (size_t i = 0; i < places->n; i++)
        if (places->spans[i].next < places->spans[i].end)
            return "the time-out was reached: allow more time";
    for (size_t i = 0; i < places->n; i++)
        if (places->spans[i].low > 0 && places->spans[i].start == places->spans[i].low)
            return "the beginning of the topic is gone (retention)";
    if (places->versions < places->highest)
        return "older versions of the topic are gone";
    if (check->has_own_topics && !places->has_own)
        return "the coupon's own topic is gone";
    return NULL;
}

static void conclude(const struct topic_check *check, const struct coupon_spans *places, const struct search *search,
                     int64_t wanted, struct checks *checks, const char *name) {
    const struct tickets *left = search->tickets;
    char read[120], missing[120];
    snprintf(read, sizeof read, "read %" PRId64 " messages of %zu partition%s, %" PRId64 " of this coupon",
             search->messages, places->n, places->n == 1 ? "" : "s", search->events);
    snprintf(missing, sizeof missing, "%" PRId64 " of %" PRId64 " tickets were not found, the first is %" PRId64,
             left->n, wanted, tickets_first(left));
    const char *why_not = excuse(check, places);
    if (left->n == 0)
        checks_tell(checks, name, true, "all %" PRId64 " tickets are there; %s", wanted, read);
    else if (why_not)
        checks_skip(checks, name, "%s: %s; %s", missing, why_not, read);
    else
        checks_tell(checks, name, false, "%s; %s", missing, read);
}

bool verify_topic(const struct topic_check *check, enum stream stream, struct tickets *tickets, struct checks *checks,
                  struct err *err) {
    const char *name = stream == STREAM_REQUESTED ? "topic requested" : "topic published";
    struct topic_lists known;
    struct err problem;
    int64_t wanted = tickets->n;
    if (wanted == 0) {
        checks_tell(checks, name, true, "no ticket has to be there");
        return true;
    }
    if (!topics_versions(check->pg, known.versions, &known.n_versions, err))
        return false;
    if (!kafka_topic_list(check->admin, ADMIN_TIMEOUT_MS, &known.topics, &known.n_topics, &problem)) {
        checks_skip(checks, name, "Kafka: %s", problem.text);
        return true;
    }
    struct coupon_spans *places = arena_zalloc(check->arena, sizeof *places);
    struct search search = {.check = check, .stream = stream, .tickets = tickets};
    find_spans(check, stream, &known, places);
    const struct kafka_scan scan = {
        .spans = places->spans,
        .n = places->n,
        .since_us = check->since_us,
        .timeout_ms = check->timeout_ms,
        .on_message = on_message,
        .arg = &search,
    };
    if (kafka_scan(check->kafka, &scan, &problem))
        conclude(check, places, &search, wanted, checks, name);
    else
        checks_skip(checks, name, "Kafka: %s", problem.text);
    free(known.topics);
    return true;
}

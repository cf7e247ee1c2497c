/* SPDX-License-Identifier: Apache-2.0 */
/* IntegrityService; see integrity_service.h. perform() runs on the queue's thread (api/queued_call.h), with its one
 * connection. */
#include "api/integrity_service.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "api/integrity_topics.h"
#include "api/queued_call.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "store/coupon_rows.h"
#include "store/flags.h"
#include "store/integrity.h"

#define QUEUE_SIZE        16
#define TOPICS_DEFAULT_MS 5000
#define TOPICS_MAX_MS     600000
/* If a coupon has more tickets, the topics are not searched. The sets of tickets need a bit per ticket. */
#define TICKETS_MAX INT64_C(400000000)
/* How far the clock of a producer, which sets the times in Kafka, may be behind the database's clock. */
#define CLOCK_SLACK_US (600 * (int64_t)US_PER_S)
/* How often, and at which interval, to compare the flag before it counts as wrong. The reconciler corrects a flag
 * within reconcile.interval_ms, 1 s by default. */
#define FLAG_TRIES   25
#define FLAG_WAIT_US (100 * US_PER_MS)

struct integrity_service {
    Coupon__V1__IntegrityService_Service base; /* first: the stubs hand back a pointer to it */
    const struct kafka_options *kafka;
    struct kafka_admin *kafka_admin;
    int lanes;
    int64_t stale_ms;
    bool has_own_topics;
    struct call_queue *queue;
    struct pg *pg;
    struct flags *flags;
    struct arena arena;
    atomic_bool stopping;
};

struct verify_call {
    struct queued_call queued; /* first: the queue hands back a pointer to it */
    struct integrity_service *verify;
    bool without_topics;
    int topics_timeout_ms;
};

/* --- Postgres --- */

static void check_rows(const struct integrity_service *verify, const struct integrity *has, struct checks *checks) {
    int64_t decided = has->ranged + has->rejections, waiting = has->ledger_rows - decided;
    int64_t oldest_ms = has->oldest_waiting_us == INT64_MIN ? 0 : (has->now_us - has->oldest_waiting_us) / US_PER_MS;
    checks_tell(checks, "ledger", has->last_ticket == has->ledger_rows && has->first_ticket == (has->ledger_rows > 0),
                "%" PRId64 " tickets, the highest is %" PRId64, has->ledger_rows, has->last_ticket);
    checks_tell(checks, "users", has->users == has->ledger_rows, "%" PRId64 " users have %" PRId64 " tickets",
                has->users, has->ledger_rows);
    checks_tell(checks, "quantity",
                has->last_ticket <= has->quantity && has->ranged <= has->quantity &&
                    has->admission_quantity == has->quantity && has->issuance_quantity == has->quantity,
                "%" PRId64 "; the highest ticket is %" PRId64 ", %" PRId64 " are issued", has->quantity,
                has->last_ticket, has->ranged);
    checks_tell(checks, "counters",
                has->accepted == has->ledger_rows && has->issued == has->ranged && has->rejected == has->rejections,
                "accepted %" PRId64 " of %" PRId64 " rows, issued %" PRId64 " of %" PRId64 ", rejected %" PRId64
                " of %" PRId64,
                has->accepted, has->ledger_rows, has->issued, has->ranged, has->rejected, has->rejections);
    checks_tell(checks, "issued", has->overlaps == 0 && has->held == has->ranged,
                "%" PRId64 " ranges, %" PRId64 " overlap; %" PRId64 " tickets, %" PRId64 " of them in the ledger",
                has->ranges, has->overlaps, has->ranged, has->held);
    checks_tell(checks, "rejected", has->rejections_wrong == 0,
                "%" PRId64 " tickets, %" PRId64 " of them also issued, or not in the ledger", has->rejections,
                has->rejections_wrong);
    checks_tell(checks, "waiting", oldest_ms <= verify->stale_ms && !has->frozen,
                "%" PRId64 " tickets are neither issued nor rejected yet%s, the oldest for %" PRId64 " ms", waiting,
                has->frozen ? ", and the coupon is frozen" : "", oldest_ms);
    checks_tell(checks, "dead letters", true, "%" PRId64 ", %" PRId64 " of them not replayed", has->dead_letters,
                has->dead_letters_open);
}

struct unsent {
    struct tickets *wanted;
    int64_t n;
};

static void on_unsent(void *arg, int64_t ticket) {
    struct unsent *unsent = arg;
    unsent->n++;
    tickets_remove(unsent->wanted, ticket);
}

/* Checks the events that wait in the outbox, and removes their tickets from `wanted`. The topic must have the
 * others. */
static bool check_outbox(const struct verify_call *call, const struct integrity *has, enum stream stream,
                         struct tickets *wanted, struct checks *checks, struct err *err) {
    struct integrity_service *verify = call->verify;
    const char *name = stream == STREAM_REQUESTED ? "outbox requested" : "outbox published";
    struct unsent unsent = {.wanted = wanted};
    struct unsent_events events = {
        .stream = stream, .coupon_id = call->queued.coupon_id, .on_ticket = on_unsent, .arg = &unsent};
    if (!integrity_unsent(verify->pg, &verify->arena, verify->lanes, &events, err))
        return false;
    int64_t oldest_ms = events.oldest_us == INT64_MIN ? 0 : (has->now_us - events.oldest_us) / US_PER_MS;
    if (events.all)
        checks_tell(checks, name, oldest_ms <= verify->stale_ms,
                    "%" PRId64 " events are not in Kafka yet, the oldest for %" PRId64 " ms", unsent.n, oldest_ms);
    else
        checks_skip(checks, name, "%" PRId64 " events are not in Kafka yet, and further ones were not counted",
                    unsent.n);
    return true;
}

/* Checks one snapshot of Postgres. Sets wanted[], by stream, to the tickets that the topics must have. */
static bool check_postgres(struct integrity_service *verify, const struct verify_call *call, struct integrity *has,
                           struct tickets wanted[static STREAMS], struct checks *checks, struct err *err) {
    struct ticket_range *ranges;
    size_t n;
    if (!integrity_begin(verify->pg, &verify->arena, call->queued.coupon_id, has, err))
        return false;
    check_rows(verify, has, checks);
    int64_t max = has->last_ticket <= TICKETS_MAX ? has->last_ticket : 0;
    for (int stream = 0; stream < STREAMS; stream++)
        tickets_init(&wanted[stream], &verify->arena, max);
    bool ok = integrity_issued(verify->pg, &verify->arena, call->queued.coupon_id, &ranges, &n, err);
    tickets_add(&wanted[STREAM_REQUESTED], 1, max);
    for (size_t i = 0; ok && i < n; i++)
        tickets_add(&wanted[STREAM_PUBLISHED], ranges[i].first, ranges[i].last);
    for (int stream = 0; ok && stream < STREAMS; stream++)
        ok = check_outbox(call, has, (enum stream)stream, &wanted[stream], checks, err);
    integrity_end(verify->pg);
    return ok;
}

/* --- Redis --- */

static const char *flag_text(enum flag_value value) {
    return value == FLAG_MISSING ? "missing" : value == FLAG_TRUE ? "true" : "false";
}

static bool check_flag(struct integrity_service *verify, const struct verify_call *call, struct checks *checks,
                       struct err *err) {
    struct coupon coupon = {.id = call->queued.coupon_id};
    struct flag have = {.coupon_id = call->queued.coupon_id}, should;
    struct err problem;
    int64_t now_us;
    for (int try = 0; try < FLAG_TRIES; try++) {
        if (try > 0)
            clock_sleep_us(FLAG_WAIT_US);
        if (!coupon_rows_load(verify->pg, &verify->arena, &coupon, 1, &now_us, err))
            return false;
        if (!flags_get(verify->flags, &have, 1, &problem)) {
            checks_skip(checks, "flag", "Redis: %s", problem.text);
            return true;
        }
        should = flag_of(&coupon, now_us);
        if (have.value == should.value)
            break;
    }
    checks_tell(checks, "flag", have.value == should.value, "is %s in Redis, and %s by Postgres", flag_text(have.value),
                flag_text(should.value));
    return true;
}

/* --- the call, on the queue's thread --- */

static bool is_over(void *arg) {
    struct verify_call *call = arg;
    return atomic_load(&call->verify->stopping) || rpc_call_is_cancelled(call->queued.rpc);
}

static bool check_topics(struct integrity_service *verify, struct verify_call *call, const struct integrity *has,
                         struct tickets wanted[static STREAMS], struct checks *checks, struct err *err) {
    int64_t give_up_us = clock_mono_us() + call->topics_timeout_ms * (int64_t)US_PER_MS;
    for (int stream = 0; stream < STREAMS; stream++) {
        int64_t left_ms = (give_up_us - clock_mono_us()) / US_PER_MS;
        const struct topic_check check = {
            .kafka = verify->kafka,
            .admin = verify->kafka_admin,
            .pg = verify->pg,
            .arena = &verify->arena,
            .coupon_id = call->queued.coupon_id,
            .since_us = has->create_us - CLOCK_SLACK_US,
            .has_own_topics = verify->has_own_topics,
            .timeout_ms = left_ms > 1 ? (int)left_ms : 1,
            .is_over = is_over,
            .is_over_arg = call,
        };
        if (has->last_ticket > TICKETS_MAX)
            checks_skip(checks, stream == STREAM_REQUESTED ? "topic requested" : "topic published",
                        "the coupon has more than %" PRId64 " tickets, which is the limit of this check", TICKETS_MAX);
        else if (!verify_topic(&check, (enum stream)stream, &wanted[stream], checks, err))
            return false;
    }
    return true;
}

static bool perform(void *service, void *queued, struct err *err) {
    struct integrity_service *verify = service;
    struct verify_call *call = queued;
    struct checks checks = {.arena = &verify->arena};
    struct tickets wanted[STREAMS];
    struct integrity has;
    if (!check_postgres(verify, call, &has, wanted, &checks, err) || !check_flag(verify, call, &checks, err) ||
        (!call->without_topics && !check_topics(verify, call, &has, wanted, &checks, err))) {
        if (err->code != ERR_NOT_FOUND)
            return false;
        answer_refusal(call->queued.rpc, call->queued.coupon_id, REFUSAL_COUPON_NOT_FOUND, NULL);
        return true;
    }
    Coupon__V1__VerifyCouponResponse response = COUPON__V1__VERIFY_COUPON_RESPONSE__INIT;
    response.n_checks = checks.n;
    response.checks = checks.items;
    queued_call_answer(&call->queued, &response.base);
    return true;
}

/* --- the service function, on a poller's thread --- */

static void service_verify_coupon(Coupon__V1__IntegrityService_Service *base,
                                  const Coupon__V1__VerifyCouponRequest *input,
                                  Coupon__V1__VerifyCouponResponse_Closure closure, void *closure_data) {
    struct integrity_service *verify = (struct integrity_service *)base;
    struct verify_call *call = queued_call_new(closure_data, sizeof *call, ANSWER_CLOSURE(closure), perform);
    struct rpc_bad_fields bad = {0};
    call->verify = verify;
    call->queued.coupon_id = input->coupon_id;
    call->without_topics = input->without_topics;
    call->topics_timeout_ms = input->topics_timeout_ms ? input->topics_timeout_ms : TOPICS_DEFAULT_MS;
    bad_fields_check(&bad, input->coupon_id > 0, "coupon_id", "must be positive");
    bad_fields_check(&bad, input->topics_timeout_ms >= 0 && input->topics_timeout_ms <= TOPICS_MAX_MS,
                     "topics_timeout_ms", "must be from 1 to 600000, or 0 for 5000");
    queued_call_enqueue(&call->queued, verify->queue, &bad);
}

/* --- start and stop --- */

bool integrity_service_start(struct context *context, ProtobufCService **ret_service, struct err *err) {
    static const Coupon__V1__IntegrityService_Service base = COUPON__V1__INTEGRITY_SERVICE__INIT(service_);
    const struct config *config = context->config;
    struct integrity_service *verify = memory_new(1, sizeof *verify);
    verify->base = base;
    verify->kafka = &context->kafka;
    verify->kafka_admin = context->kafka_admin;
    verify->lanes = (int)config->flow_lanes;
    verify->stale_ms = config->reconcile_stale_ms;
    verify->has_own_topics = config->kafka_topic_strategy == TOPIC_STRATEGY_PER_COUPON;
    verify->pg = pg_new(&context->cold);
    arena_init(&verify->arena, 64 * 1024);
    if (!flags_new(&context->redis, &verify->flags, err) ||
        !call_queue_start(&(struct call_queue_options){.name = "verify",
                                                       .failure_event = "verify.failed",
                                                       .size = QUEUE_SIZE,
                                                       .batch_max = 1,
                                                       .service = verify,
                                                       .pg = verify->pg,
                                                       .arena = &verify->arena},
                          &verify->queue, err)) {
        integrity_service_stop(&verify->base.base);
        return false;
    }
    *ret_service = &verify->base.base;
    return true;
}

void integrity_service_stop(ProtobufCService *service) {
    struct integrity_service *verify = (struct integrity_service *)service;
    if (!verify)
        return;
    atomic_store(&verify->stopping, true);
    call_queue_stop(verify->queue);
    flags_free(verify->flags);
    pg_free(verify->pg);
    arena_deinit(&verify->arena);
    free(verify);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* DeadLetterAdminService; see dead_letter_admin_service.h. The perform_ functions run on the queue's thread
 * (api/queued_call.h), with its one connection. */
#include "api/dead_letter_admin_service.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/page.h"
#include "api/queued_call.h"
#include "base/log.h"
#include "base/memory.h"
#include "coupon/v1/dead_letter_admin_service.pb-c.h"
#include "flow/relay.h"
#include "model/event.h"
#include "model/issue_decide.h"
#include "store/coupon_rows.h"
#include "store/dead_letters.h"
#include "store/lookup.h"

#define QUEUE_SIZE 64
/* The greatest number of letters that one call replays. Each replay is a transaction, and this bounds the call's
 * time. */
#define REPLAY_MAX 1000
#define DETAIL_MAX 200 /* bytes */

struct dead_letter_admin_service {
    Coupon__V1__DeadLetterAdminService_Service base; /* first: the stubs hand back a pointer to it */
    const struct kafka_options *kafka;
    int lanes;
    struct relay *relay;
    struct call_queue *queue;
    struct pg *pg;
    struct arena arena;
};

struct letters_call {
    struct queued_call queued; /* first: the queue hands back a pointer to it */
    int64_t first_id, last_id, page_after;
    int32_t page_size;
};

/* --- messages --- */

struct letter_message {
    Coupon__V1__DeadLetter letter;
    Google__Protobuf__Timestamp create_time, replay_time;
};

static ProtobufCBinaryData bytes_message(const struct pg_bytes *bytes) {
    return (ProtobufCBinaryData){bytes->len, (uint8_t *)(uintptr_t)bytes->data}; /* packing does not write to it */
}

static void letter_message_init(struct letter_message *message, const struct dead_letter *letter) {
    Coupon__V1__DeadLetter *out = &message->letter;
    coupon__v1__dead_letter__init(out);
    out->id = letter->id;
    out->topic = (char *)(uintptr_t)letter->topic; /* packing does not write to it */
    out->partition = letter->partition;
    out->offset = letter->offset;
    out->key = bytes_message(&letter->key);
    out->value = bytes_message(&letter->value);
    out->value_size = letter->value_size;
    out->reason = (char *)(uintptr_t)letter->reason;
    out->coupon_id = letter->coupon_id;
    timestamp_init(&message->create_time, letter->create_us);
    out->create_time = &message->create_time;
    if (letter->replay_us != INT64_MIN) {
        timestamp_init(&message->replay_time, letter->replay_us);
        out->replay_time = &message->replay_time;
    }
}

static void answer_not_found(struct letters_call *call) {
    answer_reason(call->queued.rpc, REASON_DEAD_LETTER_NOT_FOUND, NULL);
}

/* --- replaying --- */

typedef Coupon__V1__Replay replay_t;

static bool keep(replay_t *replay, const char *why) {
    snprintf(replay->detail, DETAIL_MAX, "%s", why);
    replay->outcome = COUPON__V1__REPLAY__OUTCOME__OUTCOME_KEPT;
    return true;
}

/* Marks the letter as replayed, and sends the event unless it is NULL. */
static bool settle(struct dead_letter_admin_service *admin, const struct outbox_event *event, replay_t *replay,
                   struct err *err) {
    struct dead_letter_replay done = {.id = replay->id, .event = event};
    if (!dead_letters_replay(admin->pg, &admin->arena, admin->lanes, &done, err))
        return false;
    replay->outcome = !done.first ? COUPON__V1__REPLAY__OUTCOME__OUTCOME_REPLAYED
                      : event     ? COUPON__V1__REPLAY__OUTCOME__OUTCOME_SENT
                                  : COUPON__V1__REPLAY__OUTCOME__OUTCOME_DECIDED;
    if (!done.first)
        snprintf(replay->detail, DETAIL_MAX, "another call has replayed or dropped it");
    else if (event)
        relay_wake(admin->relay, false);
    return true;
}

/* Decides on the event as issue would at present. */
static bool judge(struct dead_letter_admin_service *admin, const struct event *event, struct request_status *ret_row,
                  struct issue_answer *ret_answer, struct err *err) {
    struct coupon coupon = {.id = event->coupon_id};
    const size_t coupon_of = 0;
    int64_t now_us;
    *ret_row = (struct request_status){.coupon_id = event->coupon_id, .ticket = event->ticket};
    if (!coupon_rows_load(admin->pg, &admin->arena, &coupon, 1, &now_us, err) ||
        !lookup_ticket(admin->pg, &admin->arena, ret_row, err))
        return false;
    const struct issuance_event asked = {
        .coupon_id = event->coupon_id,
        .user_id = event->user_id,
        .ticket = event->ticket,
        .ledger_user_id = ret_row->user_id,
        .accept_us = ret_row->accept_us,
        .is_decided = ret_row->issue_us != NOT_ISSUED || ret_row->reject_reason != REJECT_NONE,
    };
    issue_decide(&admin->arena, &coupon, &asked, &coupon_of, 1, ret_answer);
    return true;
}

static bool replay_requested(struct dead_letter_admin_service *admin, const struct dead_letter *letter,
                             replay_t *replay, struct err *err) {
    struct event event;
    struct request_status row;
    struct issue_answer answer;
    if (!event_read(STREAM_REQUESTED, letter->value.data, letter->value.len, &event))
        return keep(replay, "the value can't be decoded as coupon.v1.PublishRequested");
    if (!judge(admin, &event, &row, &answer, err))
        return false;
    if (answer.verdict == ISSUE_DEAD)
        return keep(replay, answer.dead_reason);
    snprintf(replay->detail, DETAIL_MAX, "ticket %" PRId64 " of coupon %" PRId64 " for user %" PRId64 "%s", row.ticket,
             row.coupon_id, row.user_id,
             answer.verdict != ISSUE_DUPLICATE  ? ""
             : row.reject_reason != REJECT_NONE ? " was rejected before"
                                                : " was issued before");
    struct outbox_event again;
    if (answer.verdict != ISSUE_DUPLICATE)
        again = outbox_event_again(&admin->arena, &row);
    return settle(admin, answer.verdict == ISSUE_DUPLICATE ? NULL : &again, replay, err);
}

static bool replay_published(struct dead_letter_admin_service *admin, const struct dead_letter *letter,
                             replay_t *replay, struct err *err) {
    struct event event;
    struct coupon coupon;
    int64_t now_us;
    if (!event_read(STREAM_PUBLISHED, letter->value.data, letter->value.len, &event))
        return keep(replay, "the value can't be decoded as coupon.v1.Published");
    coupon = (struct coupon){.id = event.coupon_id};
    if (!coupon_rows_load(admin->pg, &admin->arena, &coupon, 1, &now_us, err))
        return false;
    if (!coupon.exists)
        return keep(replay, "there is no such coupon");
    snprintf(replay->detail, DETAIL_MAX, "of coupon %" PRId64 ": its flag follows from Postgres", event.coupon_id);
    return settle(admin, NULL, replay, err);
}

static bool replay_one(struct dead_letter_admin_service *admin, replay_t *replay, struct err *err) {
    struct dead_letter letter;
    enum stream stream;
    int version;
    int64_t coupon_id;
    bool found;
    if (!dead_letters_get(admin->pg, &admin->arena, replay->id, &found, &letter, err))
        return false;
    if (!found)
        return keep(replay, "another call has dropped it");
    if (letter.replay_us != INT64_MIN) {
        replay->outcome = COUPON__V1__REPLAY__OUTCOME__OUTCOME_REPLAYED;
        snprintf(replay->detail, DETAIL_MAX, "nothing was done");
        return true;
    }
    if (letter.value_size > (int64_t)letter.value.len)
        return keep(replay, "the value is longer than any event, and only its beginning was kept");
    if (!kafka_topic_parse(admin->kafka, letter.topic, &stream, &version, &coupon_id))
        return keep(replay, "its topic's name does not begin with kafka.topic_prefix, or is not one of couponsd");
    return stream == STREAM_REQUESTED ? replay_requested(admin, &letter, replay, err)
                                      : replay_published(admin, &letter, replay, err);
}

/* --- the calls, on the queue's thread --- */

static bool perform_list(void *service, void *queued, struct err *err) {
    struct dead_letter_admin_service *admin = service;
    struct letters_call *call = queued;
    size_t max = (size_t)call->page_size;
    /* One letter more than requested shows whether another page follows. */
    struct dead_letter *letters = ARENA_ARRAY(&admin->arena, struct dead_letter, max + 1);
    struct dead_letter_page page = {
        .coupon_id = call->queued.coupon_id, .after = call->page_after, .room = max + 1, .letters = letters};
    if (!dead_letters_list(admin->pg, &admin->arena, &page, err))
        return false;
    bool more = page.n > max;
    size_t n = more ? max : page.n;
    struct letter_message *messages = ARENA_ARRAY(&admin->arena, struct letter_message, n);
    Coupon__V1__DeadLetter **pointers = ARENA_ARRAY(&admin->arena, Coupon__V1__DeadLetter *, n);
    for (size_t i = 0; i < n; i++) {
        letter_message_init(&messages[i], &letters[i]);
        pointers[i] = &messages[i].letter;
    }
    char token[PAGE_TOKEN_MAX];
    Coupon__V1__ListDeadLettersResponse response = COUPON__V1__LIST_DEAD_LETTERS_RESPONSE__INIT;
    response.n_dead_letters = n;
    response.dead_letters = pointers;
    response.next_page_token = page_token(token, n ? letters[n - 1].id : 0, more);
    queued_call_answer(&call->queued, &response.base);
    return true;
}

static bool perform_get(void *service, void *queued, struct err *err) {
    struct dead_letter_admin_service *admin = service;
    struct letters_call *call = queued;
    struct dead_letter letter;
    struct letter_message message;
    bool found;
    if (!dead_letters_get(admin->pg, &admin->arena, call->first_id, &found, &letter, err))
        return false;
    if (!found) {
        answer_not_found(call);
        return true;
    }
    letter_message_init(&message, &letter);
    Coupon__V1__GetDeadLetterResponse response = COUPON__V1__GET_DEAD_LETTER_RESPONSE__INIT;
    response.dead_letter = &message.letter;
    queued_call_answer(&call->queued, &response.base);
    return true;
}

static bool perform_replay(void *service, void *queued, struct err *err) {
    struct dead_letter_admin_service *admin = service;
    struct letters_call *call = queued;
    /* One id more than this call replays shows where the next call should continue. */
    struct dead_letter_ids ids = {
        .first = call->first_id,
        .last = call->last_id,
        .room = REPLAY_MAX + 1,
        .id = ARENA_ARRAY(&admin->arena, int64_t, REPLAY_MAX + 1),
    };
    if (!dead_letters_ids(admin->pg, &admin->arena, &ids, err))
        return false;
    if (ids.n == 0 && call->first_id == call->last_id) {
        answer_not_found(call);
        return true;
    }
    Coupon__V1__ReplayDeadLettersResponse response = COUPON__V1__REPLAY_DEAD_LETTERS_RESPONSE__INIT;
    response.next_id = ids.n > REPLAY_MAX ? ids.id[REPLAY_MAX] : 0;
    response.n_replays = ids.n > REPLAY_MAX ? REPLAY_MAX : ids.n;
    response.replays = ARENA_ARRAY(&admin->arena, replay_t *, response.n_replays);
    for (size_t i = 0; i < response.n_replays; i++) {
        replay_t *replay = response.replays[i] = ARENA_ARRAY(&admin->arena, replay_t, 1);
        coupon__v1__replay__init(replay);
        replay->id = ids.id[i];
        replay->detail = arena_zalloc(&admin->arena, DETAIL_MAX);
        if (!replay_one(admin, replay, err))
            return false;
    }
    log_info("dead_letters.replayed", LOG_INT("first_id", call->first_id), LOG_INT("last_id", call->last_id),
             LOG_INT("n", response.n_replays));
    queued_call_answer(&call->queued, &response.base);
    return true;
}

static bool perform_drop(void *service, void *queued, struct err *err) {
    struct dead_letter_admin_service *admin = service;
    struct letters_call *call = queued;
    Coupon__V1__DropDeadLettersResponse response = COUPON__V1__DROP_DEAD_LETTERS_RESPONSE__INIT;
    if (!dead_letters_drop(admin->pg, &admin->arena, call->first_id, call->last_id, &response.dropped, err))
        return false;
    log_info("dead_letters.dropped", LOG_INT("first_id", call->first_id), LOG_INT("last_id", call->last_id),
             LOG_INT("n", response.dropped));
    queued_call_answer(&call->queued, &response.base);
    return true;
}

/* --- the service functions, on a poller's thread --- */

static struct letters_call *call_of(ProtobufCClosure closure, void *closure_data,
                                    bool (*perform)(void *service, void *call, struct err *err)) {
    struct letters_call *call = queued_call_new(closure_data, sizeof *call, closure, perform);
    call->queued.may_repeat = perform == perform_list || perform == perform_get; /* these only read */
    return call;
}

static void enqueue(Coupon__V1__DeadLetterAdminService_Service *base, struct letters_call *call,
                    const struct rpc_bad_fields *bad) {
    struct dead_letter_admin_service *admin = (struct dead_letter_admin_service *)base;
    queued_call_enqueue(&call->queued, admin->queue, bad);
}

static void read_range(struct rpc_bad_fields *bad, struct letters_call *call, int64_t first_id, int64_t last_id) {
    call->first_id = first_id;
    call->last_id = last_id ? last_id : first_id;
    bad_fields_check(bad, first_id > 0, "first_id", "must be positive");
    bad_fields_check(bad, last_id == 0 || last_id >= first_id, "last_id",
                     "must not be below first_id; 0 means the same");
}

static void service_list_dead_letters(Coupon__V1__DeadLetterAdminService_Service *base,
                                      const Coupon__V1__ListDeadLettersRequest *input,
                                      Coupon__V1__ListDeadLettersResponse_Closure closure, void *closure_data) {
    struct letters_call *call = call_of(ANSWER_CLOSURE(closure), closure_data, perform_list);
    struct rpc_bad_fields bad = {0};
    call->queued.coupon_id = input->coupon_id;
    page_read(&bad, input->page_size, input->page_token, &call->page_size, &call->page_after);
    enqueue(base, call, &bad);
}

static void service_get_dead_letter(Coupon__V1__DeadLetterAdminService_Service *base,
                                    const Coupon__V1__GetDeadLetterRequest *input,
                                    Coupon__V1__GetDeadLetterResponse_Closure closure, void *closure_data) {
    struct letters_call *call = call_of(ANSWER_CLOSURE(closure), closure_data, perform_get);
    struct rpc_bad_fields bad = {0};
    call->first_id = input->id;
    bad_fields_check(&bad, input->id > 0, "id", "must be positive");
    enqueue(base, call, &bad);
}

static void service_replay_dead_letters(Coupon__V1__DeadLetterAdminService_Service *base,
                                        const Coupon__V1__ReplayDeadLettersRequest *input,
                                        Coupon__V1__ReplayDeadLettersResponse_Closure closure, void *closure_data) {
    struct letters_call *call = call_of(ANSWER_CLOSURE(closure), closure_data, perform_replay);
    struct rpc_bad_fields bad = {0};
    read_range(&bad, call, input->first_id, input->last_id);
    enqueue(base, call, &bad);
}

static void service_drop_dead_letters(Coupon__V1__DeadLetterAdminService_Service *base,
                                      const Coupon__V1__DropDeadLettersRequest *input,
                                      Coupon__V1__DropDeadLettersResponse_Closure closure, void *closure_data) {
    struct letters_call *call = call_of(ANSWER_CLOSURE(closure), closure_data, perform_drop);
    struct rpc_bad_fields bad = {0};
    read_range(&bad, call, input->first_id, input->last_id);
    enqueue(base, call, &bad);
}

/* --- start and stop --- */

bool dead_letter_admin_service_start(struct context *context, ProtobufCService **ret_service, struct err *err) {
    static const Coupon__V1__DeadLetterAdminService_Service base =
        COUPON__V1__DEAD_LETTER_ADMIN_SERVICE__INIT(service_);
    struct dead_letter_admin_service *admin = memory_new(1, sizeof *admin);
    admin->base = base;
    admin->kafka = &context->kafka;
    admin->lanes = (int)context->config->flow_lanes;
    admin->relay = context->relays[STREAM_REQUESTED];
    admin->pg = pg_new(&context->cold);
    arena_init(&admin->arena, 64 * 1024);
    if (!call_queue_start(&(struct call_queue_options){.name = "dead_letters",
                                                       .failure_event = "dead_letters.failed",
                                                       .size = QUEUE_SIZE,
                                                       .batch_max = 1,
                                                       .service = admin,
                                                       .pg = admin->pg,
                                                       .arena = &admin->arena},
                          &admin->queue, err)) {
        dead_letter_admin_service_stop(&admin->base.base);
        return false;
    }
    *ret_service = &admin->base.base;
    return true;
}

void dead_letter_admin_service_stop(ProtobufCService *service) {
    struct dead_letter_admin_service *admin = (struct dead_letter_admin_service *)service;
    if (!admin)
        return;
    call_queue_stop(admin->queue);
    pg_free(admin->pg);
    arena_deinit(&admin->arena);
    free(admin);
}

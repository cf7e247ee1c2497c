/* SPDX-License-Identifier: Apache-2.0 */
/* CouponAdminService; see coupon_admin_service.h. The service functions validate on a poller's thread and queue a
 * `struct admin_call`, which lives in its call's memory. The perform_ functions run on the queue's thread
 * (api/queued_call.h). */
#include "api/coupon_admin_service.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/page.h"
#include "api/queued_call.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/memory.h"
#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "flow/gate/coupon_memory.h"
#include "model/event.h"
#include "store/coupons.h"
#include "store/flags.h"

/* Administrative calls are rare, so only an attack or a mistake fills the queue. */
#define QUEUE_SIZE     1024
#define NAME_MAX_BYTES 200
/* The time-out for creating a new coupon's topics. The coupon is already committed then. */
#define TOPICS_TIMEOUT_MS 2000
/* Larger than any campaign, and small enough that sums of quantities do not overflow. */
#define QUANTITY_MAX INT64_C(1000000000000)

struct coupon_admin_service {
    Coupon__V1__CouponAdminService_Service base; /* first: the stubs hand back a pointer to it */
    int lanes;
    int coupon_partitions; /* of a coupon's own topics; 0: coupons have no own topics */
    const struct kafka_options *kafka;
    struct kafka_admin *kafka_admin;
    struct coupon_memory *coupon_memory;
    struct call_queue *queue;
    struct pg *pg;
    struct flags *flags;
    struct arena arena;
};

struct admin_call {
    struct queued_call queued;                  /* first: the queue hands back a pointer to it */
    const ProtobufCMessageDescriptor *response; /* of a response with one coupon; NULL for a list */
    int64_t coupon_id, quantity;
    enum coupon_status status;
    const char *request_id;
    int32_t page_size;
    int64_t page_after;
    struct coupon_detail detail; /* create: the requested coupon */
};

/* --- answering --- */

/* Reads the coupons' flags from Redis. If Redis fails, derives them from the rows. */
static void read_availability(struct coupon_admin_service *admin, const struct coupon_detail *details, size_t n,
                              int64_t now_us, bool *ret_available) {
    struct flag *flags = ARENA_ARRAY(&admin->arena, struct flag, n);
    for (size_t i = 0; i < n; i++)
        flags[i] = (struct flag){.coupon_id = details[i].row.id};
    struct err err;
    bool ok = flags_get(admin->flags, flags, n, &err);
    if (!ok)
        log_warn("admin.redis_unavailable", LOG_ERR(&err));
    for (size_t i = 0; i < n; i++)
        ret_available[i] = ok ? flags[i].value == FLAG_TRUE : coupon_is_available(&details[i].row, now_us);
}

/* Answers with one coupon. All responses with one coupon have the same layout (base, coupon), so one C type serves
 * all. */
static void answer_coupon(struct coupon_admin_service *admin, struct admin_call *call,
                          const struct coupon_detail *detail, int64_t now_us) {
    bool available;
    struct coupon_message message;
    read_availability(admin, detail, 1, now_us, &available);
    coupon_message_init(&message, detail, available);
    Coupon__V1__GetCouponResponse response = COUPON__V1__GET_COUPON_RESPONSE__INIT;
    response.base.descriptor = call->response;
    response.coupon = &message.coupon;
    call->queued.coupon_id = detail->row.id;
    queued_call_answer(&call->queued, &response.base);
}

static bool answer_outcome(struct coupon_admin_service *admin, struct admin_call *call, enum coupon_outcome outcome,
                           const struct coupon_detail *detail, int64_t now_us) {
    switch (outcome) {
    case COUPON_OK:
        answer_coupon(admin, call, detail, now_us);
        return true;
    case COUPON_MISSING:
        answer_refusal(call->queued.rpc, call->queued.coupon_id, REFUSAL_COUPON_NOT_FOUND, NULL);
        return true;
    case COUPON_EXISTS:
        answer_coupon_exists(call->queued.rpc, detail->row.id);
        return true;
    case COUPON_REQUEST_REUSED:
        answer_bad_fields(call->queued.rpc,
                          &(struct rpc_bad_field){"request_id", "was used for another request: use a new one"}, 1);
        return true;
    case COUPON_IS_CLOSED:
        answer_refusal(call->queued.rpc, call->queued.coupon_id, REFUSAL_CLOSED, NULL);
        return true;
    case COUPON_IS_EXPIRED:
        answer_refusal(call->queued.rpc, call->queued.coupon_id, REFUSAL_EXPIRED, NULL);
        return true;
    case COUPON_FAILED:
        break;
    }
    return false;
}

/* Writes the flag of a committed change to Redis and the coupon memory. If Redis is unavailable, the reconciler
 * writes it later. */
static void spread(struct coupon_admin_service *admin, const struct coupon_detail *detail, int64_t now_us) {
    struct flag flag = flag_of(&detail->row, now_us);
    struct err err;
    FAULT_POINT("admin", "before_flag_write");
    if (!flags_set(admin->flags, &flag, 1, &err))
        log_warn("admin.flag_not_set", LOG_INT("coupon_id", detail->row.id), LOG_ERR(&err));
    FAULT_POINT("admin", "after_flag_write");
    coupon_memory_learn(admin->coupon_memory, &detail->row, 1, now_us);
    coupon_memory_learn_flags(admin->coupon_memory, &flag, 1);
}

/* --- the work, on the queue's thread --- */

static bool finish_change(struct coupon_admin_service *admin, struct admin_call *call, enum coupon_outcome outcome,
                          const struct coupon_detail *detail, struct err *err) {
    int64_t now_us = 0;
    if (outcome == COUPON_OK) {
        if (!coupon_now(admin->pg, &now_us, err))
            return false;
        spread(admin, detail, now_us);
    }
    return answer_outcome(admin, call, outcome, detail, now_us);
}

static void create_topics(struct coupon_admin_service *admin, int64_t coupon_id) {
    char names[STREAMS][KAFKA_TOPIC_MAX];
    const char *pointers[STREAMS];
    struct err err;
    for (int stream = 0; stream < STREAMS; stream++) {
        kafka_topic_name(admin->kafka, (enum stream)stream, 1, coupon_id, names[stream]);
        pointers[stream] = names[stream];
    }
    const struct kafka_new_topics topics = {.n = STREAMS, .name = pointers, .partitions = admin->coupon_partitions};
    if (!kafka_topic_create(admin->kafka_admin, &topics, TOPICS_TIMEOUT_MS, &err))
        log_warn("admin.no_coupon_topic", LOG_INT("coupon_id", coupon_id), LOG_ERR(&err),
                 LOG_STR("then", "the relay creates them later"));
}

static bool perform_create(void *service, void *queued, struct err *err) {
    struct coupon_admin_service *admin = service;
    struct admin_call *call = queued;
    struct coupon_detail detail = call->detail; /* a copy, since a repeat needs the requested coupon again */
    enum coupon_outcome outcome = coupon_create(admin->pg, &admin->arena, admin->lanes, call->request_id, &detail, err);
    if (!finish_change(admin, call, outcome, &detail, err))
        return false;
    if (outcome == COUPON_OK && admin->coupon_partitions) /* the caller has its answer: Kafka may be slow */
        create_topics(admin, detail.row.id);
    return true;
}

static bool perform_set_status(void *service, void *queued, struct err *err) {
    struct coupon_admin_service *admin = service;
    struct admin_call *call = queued;
    struct coupon_detail detail = {.row.id = call->queued.coupon_id};
    enum coupon_outcome outcome = coupon_set_status(admin->pg, &admin->arena, admin->lanes, call->status, &detail, err);
    return finish_change(admin, call, outcome, &detail, err);
}

static bool perform_add(void *service, void *queued, struct err *err) {
    struct coupon_admin_service *admin = service;
    struct admin_call *call = queued;
    struct coupon_detail detail;
    const struct coupon_addition addition = {call->queued.coupon_id, call->quantity, call->request_id};
    enum coupon_outcome outcome = coupon_add_quantity(admin->pg, &admin->arena, admin->lanes, &addition, &detail, err);
    return finish_change(admin, call, outcome, &detail, err);
}

static bool perform_get(void *service, void *queued, struct err *err) {
    struct coupon_admin_service *admin = service;
    struct admin_call *call = queued;
    struct coupon_detail detail;
    int64_t now_us;
    if (!coupon_now(admin->pg, &now_us, err))
        return false;
    return answer_outcome(admin, call, coupon_get(admin->pg, &admin->arena, call->queued.coupon_id, &detail, err),
                          &detail, now_us);
}

static bool perform_list(void *service, void *queued, struct err *err) {
    struct coupon_admin_service *admin = service;
    struct admin_call *call = queued;
    size_t max = (size_t)call->page_size;
    int64_t now_us;
    /* One coupon more than requested shows whether another page follows. */
    struct coupon_detail *details = ARENA_ARRAY(&admin->arena, struct coupon_detail, max + 1);
    struct coupon_page page = {.after = call->page_after, .room = max + 1, .coupons = details};
    if (!coupon_now(admin->pg, &now_us, err) || !coupon_list(admin->pg, &admin->arena, &page, err))
        return false;
    bool more = page.n > max;
    size_t n = more ? max : page.n;
    bool *available = ARENA_ARRAY(&admin->arena, bool, n);
    struct coupon_message *messages = ARENA_ARRAY(&admin->arena, struct coupon_message, n);
    Coupon__V1__Coupon **pointers = ARENA_ARRAY(&admin->arena, Coupon__V1__Coupon *, n);
    read_availability(admin, details, n, now_us, available);
    for (size_t i = 0; i < n; i++) {
        coupon_message_init(&messages[i], &details[i], available[i]);
        pointers[i] = &messages[i].coupon;
    }
    char token[PAGE_TOKEN_MAX];
    Coupon__V1__ListCouponsResponse response = COUPON__V1__LIST_COUPONS_RESPONSE__INIT;
    response.n_coupons = n;
    response.coupons = pointers;
    response.next_page_token = page_token(token, n ? details[n - 1].row.id : 0, more);
    queued_call_answer(&call->queued, &response.base);
    return true;
}

/* --- the service functions, on a poller's thread --- */

/* Returns true if an interrupted call may be repeated once. Reads and changes of the status are idempotent. A create or
 * an addition is idempotent only with a request id; without one it may already be committed. */
static bool may_repeat(const struct admin_call *call) {
    return (call->queued.perform != perform_create && call->queued.perform != perform_add) || *call->request_id;
}

static struct admin_call *call_of(ProtobufCClosure closure, void *closure_data,
                                  const ProtobufCMessageDescriptor *response,
                                  bool (*perform)(void *service, void *call, struct err *err)) {
    struct admin_call *call = queued_call_new(closure_data, sizeof *call, closure, perform);
    call->response = response;
    call->request_id = "";
    return call;
}

static void enqueue(struct coupon_admin_service *admin, struct admin_call *call, const struct rpc_bad_fields *bad) {
    call->queued.may_repeat = may_repeat(call);
    queued_call_enqueue(&call->queued, admin->queue, bad);
}

static struct coupon_admin_service *admin_of(Coupon__V1__CouponAdminService_Service *base) {
    return (struct coupon_admin_service *)base;
}

static void read_time(struct rpc_bad_fields *bad, const Google__Protobuf__Timestamp *time, const char *field,
                      int64_t if_absent, int64_t *ret_us) {
    *ret_us = if_absent;
    if (time)
        bad_fields_check(bad, timestamp_read(time, ret_us), field, "is not a time between the years 1 and 9999");
}

static void read_coupon(struct rpc_bad_fields *bad, const Coupon__V1__Coupon *coupon, struct coupon_detail *ret) {
    struct coupon *row = &ret->row;
    row->id = coupon->id;
    row->quantity = coupon->quantity;
    row->status = coupon->status == COUPON__V1__COUPON__STATUS__STATUS_PAUSED ? COUPON_PAUSED : COUPON_PUBLISHABLE;
    ret->name = coupon->name;
    ret->discount_rate = coupon->discount_rate;
    read_time(bad, coupon->open_time, "coupon.open_time", TIME_OPEN_START, &row->open_us);
    read_time(bad, coupon->expire_time, "coupon.expire_time", TIME_OPEN_END, &row->expire_us);
    bad_fields_check(bad, row->id >= 0, "coupon.id", "must be positive, or 0 to get a free one");
    bad_fields_check(bad, strlen(ret->name) <= NAME_MAX_BYTES, "coupon.name", "must have at most 200 bytes");
    bad_fields_check(bad, row->quantity > 0 && row->quantity <= QUANTITY_MAX, "coupon.quantity",
                     "must be from 1 to 1000000000000");
    bad_fields_check(bad,
                     coupon->status == COUPON__V1__COUPON__STATUS__STATUS_UNSPECIFIED ||
                         coupon->status == COUPON__V1__COUPON__STATUS__STATUS_PUBLISHABLE ||
                         coupon->status == COUPON__V1__COUPON__STATUS__STATUS_PAUSED,
                     "coupon.status", "a coupon is created PUBLISHABLE or PAUSED");
    bad_fields_check(bad, ret->discount_rate >= 0 && ret->discount_rate <= 100, "coupon.discount_rate",
                     "must be from 0 to 100");
    bad_fields_check(bad, row->open_us < row->expire_us, "coupon.expire_time", "must be after open_time");
}

static void check_request_id(struct rpc_bad_fields *bad, const char *request_id) {
    bad_fields_check(bad, strlen(request_id) <= REQUEST_ID_MAX, "request_id", "must have at most 128 bytes");
}

static void create_coupon(Coupon__V1__CouponAdminService_Service *base, const Coupon__V1__CreateCouponRequest *input,
                          Coupon__V1__CreateCouponResponse_Closure closure, void *closure_data) {
    struct admin_call *call =
        call_of(ANSWER_CLOSURE(closure), closure_data, &coupon__v1__create_coupon_response__descriptor, perform_create);
    struct rpc_bad_fields bad = {0};
    call->request_id = input->request_id;
    check_request_id(&bad, input->request_id);
    bad_fields_check(&bad, input->coupon != NULL, "coupon", "is missing");
    if (input->coupon)
        read_coupon(&bad, input->coupon, &call->detail);
    enqueue(admin_of(base), call, &bad);
}

static void enqueue_by_id(struct coupon_admin_service *admin, struct admin_call *call, int64_t coupon_id) {
    struct rpc_bad_fields bad = {0};
    call->queued.coupon_id = coupon_id;
    bad_fields_check(&bad, coupon_id > 0, "coupon_id", "must be positive");
    enqueue(admin, call, &bad);
}

static void get_coupon(Coupon__V1__CouponAdminService_Service *base, const Coupon__V1__GetCouponRequest *input,
                       Coupon__V1__GetCouponResponse_Closure closure, void *closure_data) {
    enqueue_by_id(
        admin_of(base),
        call_of(ANSWER_CLOSURE(closure), closure_data, &coupon__v1__get_coupon_response__descriptor, perform_get),
        input->coupon_id);
}

static void set_status(struct coupon_admin_service *admin, ProtobufCClosure closure, void *closure_data,
                       const ProtobufCMessageDescriptor *response, int64_t coupon_id, enum coupon_status status) {
    struct admin_call *call = call_of(closure, closure_data, response, perform_set_status);
    call->status = status;
    enqueue_by_id(admin, call, coupon_id);
}

static void pause_coupon(Coupon__V1__CouponAdminService_Service *base, const Coupon__V1__PauseCouponRequest *input,
                         Coupon__V1__PauseCouponResponse_Closure closure, void *closure_data) {
    set_status(admin_of(base), ANSWER_CLOSURE(closure), closure_data, &coupon__v1__pause_coupon_response__descriptor,
               input->coupon_id, COUPON_PAUSED);
}

static void resume_coupon(Coupon__V1__CouponAdminService_Service *base, const Coupon__V1__ResumeCouponRequest *input,
                          Coupon__V1__ResumeCouponResponse_Closure closure, void *closure_data) {
    set_status(admin_of(base), ANSWER_CLOSURE(closure), closure_data, &coupon__v1__resume_coupon_response__descriptor,
               input->coupon_id, COUPON_PUBLISHABLE);
}

static void close_coupon(Coupon__V1__CouponAdminService_Service *base, const Coupon__V1__CloseCouponRequest *input,
                         Coupon__V1__CloseCouponResponse_Closure closure, void *closure_data) {
    set_status(admin_of(base), ANSWER_CLOSURE(closure), closure_data, &coupon__v1__close_coupon_response__descriptor,
               input->coupon_id, COUPON_CLOSED);
}

static void add_quantity(Coupon__V1__CouponAdminService_Service *base, const Coupon__V1__AddQuantityRequest *input,
                         Coupon__V1__AddQuantityResponse_Closure closure, void *closure_data) {
    struct admin_call *call =
        call_of(ANSWER_CLOSURE(closure), closure_data, &coupon__v1__add_quantity_response__descriptor, perform_add);
    struct rpc_bad_fields bad = {0};
    call->queued.coupon_id = input->coupon_id;
    call->quantity = input->quantity;
    call->request_id = input->request_id;
    bad_fields_check(&bad, input->coupon_id > 0, "coupon_id", "must be positive");
    bad_fields_check(&bad, input->quantity > 0 && input->quantity <= QUANTITY_MAX, "quantity",
                     "must be from 1 to 1000000000000");
    check_request_id(&bad, input->request_id);
    enqueue(admin_of(base), call, &bad);
}

static void list_coupons(Coupon__V1__CouponAdminService_Service *base, const Coupon__V1__ListCouponsRequest *input,
                         Coupon__V1__ListCouponsResponse_Closure closure, void *closure_data) {
    struct admin_call *call = call_of(ANSWER_CLOSURE(closure), closure_data, NULL, perform_list);
    struct rpc_bad_fields bad = {0};
    page_read(&bad, input->page_size, input->page_token, &call->page_size, &call->page_after);
    enqueue(admin_of(base), call, &bad);
}

bool coupon_admin_service_start(struct context *context, ProtobufCService **ret_service, struct err *err) {
    static const Coupon__V1__CouponAdminService_Service base = COUPON__V1__COUPON_ADMIN_SERVICE__INIT();
    const struct config *config = context->config;
    struct coupon_admin_service *admin = memory_new(1, sizeof *admin);
    admin->base = base;
    admin->base.create_coupon = create_coupon;
    admin->base.get_coupon = get_coupon;
    admin->base.list_coupons = list_coupons;
    admin->base.pause_coupon = pause_coupon;
    admin->base.resume_coupon = resume_coupon;
    admin->base.close_coupon = close_coupon;
    admin->base.add_quantity = add_quantity;
    admin->lanes = (int)config->flow_lanes;
    admin->coupon_partitions =
        config->kafka_topic_strategy == TOPIC_STRATEGY_PER_COUPON ? (int)config->kafka_coupon_partitions : 0;
    admin->kafka = &context->kafka;
    admin->kafka_admin = context->kafka_admin;
    admin->coupon_memory = context->coupon_memory;
    admin->pg = pg_new(&context->cold);
    arena_init(&admin->arena, 64 * 1024);
    if (!flags_new(&context->redis, &admin->flags, err) ||
        !call_queue_start(&(struct call_queue_options){.name = "admin",
                                                       .failure_event = "admin.failed",
                                                       .size = QUEUE_SIZE,
                                                       .batch_max = 64,
                                                       .bounds_silence = true,
                                                       .service = admin,
                                                       .pg = admin->pg,
                                                       .arena = &admin->arena},
                          &admin->queue, err)) {
        coupon_admin_service_stop(&admin->base.base);
        return false;
    }
    *ret_service = &admin->base.base;
    return true;
}

void coupon_admin_service_stop(ProtobufCService *service) {
    struct coupon_admin_service *admin = (struct coupon_admin_service *)service;
    if (!admin)
        return;
    call_queue_stop(admin->queue);
    flags_free(admin->flags);
    pg_free(admin->pg);
    arena_deinit(&admin->arena);
    free(admin);
}

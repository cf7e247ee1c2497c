/* SPDX-License-Identifier: Apache-2.0 */
#include "api/coupon_service.h"

#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "api/page.h"
#include "api/rpc_trace.h"
#include "base/memory.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "flow/campaigns.h"
#include "flow/gate.h"
#include "flow/read/holdings.h"
#include "flow/read/status.h"
#include "flow/read/watch.h"
#include "flow/request.h"
#include "model/event.h"

struct coupon_service {
    Coupon__V1__CouponService_Service base; /* first: the stubs hand back a pointer to it */
    struct gate *gate;
    struct status *status;
    struct holdings *holdings;
    struct watch *watch;
};

/* --- answering --- */

static void answer_status(struct request *request, const struct request_status *status) {
    struct status_message message;
    status_message_init(&message, status);
    if (request->kind == REQUEST_PUBLISH) {
        Coupon__V1__RequestPublishResponse response = COUPON__V1__REQUEST_PUBLISH_RESPONSE__INIT;
        response.status = &message.status;
        request->closure(&response.base, request->call);
    } else if (request->kind == REQUEST_GET_STATUS) {
        Coupon__V1__GetStatusResponse response = COUPON__V1__GET_STATUS_RESPONSE__INIT;
        response.status = &message.status;
        request->closure(&response.base, request->call);
    } else {
        struct rpc_call *call = request->call;
        Coupon__V1__WatchStatusResponse response = COUPON__V1__WATCH_STATUS_RESPONSE__INIT;
        response.status = &message.status;
        request->closure(&response.base, call);
        if (request_status_is_final(status))
            rpc_call_finish(call);
    }
}

static void answer_page(struct request *request, const struct outcome *outcome) {
    size_t n = outcome->n;
    Coupon__V1__UserCoupon *coupons = memory_new(n, sizeof *coupons);
    Coupon__V1__UserCoupon **pointers = memory_new(n, sizeof *pointers);
    Google__Protobuf__Timestamp *times = memory_new(n, sizeof *times);
    for (size_t i = 0; i < n; i++) {
        const struct request_status *status = &outcome->statuses[i];
        coupon__v1__user_coupon__init(&coupons[i]);
        coupons[i].coupon_id = status->coupon_id;
        coupons[i].user_id = status->user_id;
        coupons[i].ticket = status->ticket;
        timestamp_init(&times[i], status->issue_us);
        coupons[i].issue_time = &times[i];
        pointers[i] = &coupons[i];
    }
    char token[PAGE_TOKEN_MAX];
    Coupon__V1__ListUserCouponsResponse response = COUPON__V1__LIST_USER_COUPONS_RESPONSE__INIT;
    response.n_user_coupons = n;
    response.user_coupons = pointers;
    response.next_page_token = page_token(token, n ? outcome->statuses[n - 1].coupon_id : 0, outcome->more);
    request->closure(&response.base, request->call);
    free(coupons);
    free(pointers);
    free(times);
}

/* What the outcome is for the counts of the coupon's campaign. */
static enum reason reason_of(const struct outcome *outcome) {
    static const enum reason reasons[] = {
        [OUTCOME_STATUS] = REASON_NONE,
        [OUTCOME_ALREADY_REQUESTED] = REASON_ALREADY_REQUESTED,
        [OUTCOME_BACKEND_FAILED] = REASON_BACKEND_UNAVAILABLE,
        [OUTCOME_OVERLOADED] = REASON_OVERLOADED,
        [OUTCOME_STOPPING] = REASON_STOPPING,
        [OUTCOME_DROPPED] = REASON_DROPPED,
    };
    return outcome->kind == OUTCOME_REFUSED ? reason_of_refusal(outcome->refusal) : reasons[outcome->kind];
}

static void answer(struct request *request, const struct outcome *outcome) {
    if (request->kind == REQUEST_PUBLISH)
        campaigns_count(request->coupon_id, reason_of(outcome));
    switch (outcome->kind) {
    case OUTCOME_STATUS:
        answer_status(request, outcome->statuses);
        break;
    case OUTCOME_PAGE:
        answer_page(request, outcome);
        break;
    case OUTCOME_ALREADY_REQUESTED:
        answer_already_requested(request->call, outcome->statuses);
        break;
    case OUTCOME_REQUEST_NOT_FOUND:
        answer_request_not_found(request->call, request->coupon_id, request->user_id);
        break;
    case OUTCOME_REFUSED:
        answer_refusal(request->call, request->coupon_id, outcome->refusal, outcome->coupon);
        break;
    case OUTCOME_BACKEND_FAILED:
        answer_backend(request->call, outcome->err);
        break;
    case OUTCOME_OVERLOADED:
        answer_overloaded(request->call);
        break;
    case OUTCOME_STOPPING:
        answer_stopping(request->call);
        break;
    case OUTCOME_DROPPED:
        answer_dropped(request->call);
        break;
    }
}

/* --- the service functions, on a poller's thread --- */

static struct request *request_of(enum request_kind kind, ProtobufCClosure closure, void *closure_data,
                                  int64_t coupon_id, int64_t user_id) {
    struct rpc_call *call = rpc_call_of(closure_data);
    struct request *request = rpc_call_alloc(call, sizeof *request);
    *request = (struct request){
        .kind = kind,
        .call = call,
        .closure = closure,
        .answer = answer,
        .coupon_id = coupon_id,
        .user_id = user_id,
    };
    return request;
}

/* Refuses the call if its token is bound to another user. Returns whether it did. */
static bool refuse_other_user(struct rpc_call *call, int64_t user_id) {
    int64_t subject = rpc_call_subject(call);
    bool is_other = subject && subject != user_id;
    if (is_other)
        answer_reason(call, REASON_PERMISSION, "user_id is not the user of this token");
    return is_other;
}

/* Refuses a request that has bad fields or is for another user. Returns whether it did. */
static bool refuse_bad(const struct rpc_bad_fields *bad, const struct request *request) {
    return bad_fields_answer(bad, request->call) || refuse_other_user(request->call, request->user_id);
}

static void check_ids(struct rpc_bad_fields *bad, const struct request *request) {
    bad_fields_check(bad, request->coupon_id > 0, "coupon_id", "must be positive");
    bad_fields_check(bad, request->user_id > 0, "user_id", "must be positive");
}

/* Copies the value of a header. Returns NULL if there is none, or it is not fine. */
static const char *copy_of(struct rpc_call *call, const char *key, bool (*is_fine)(const char *value, size_t len)) {
    size_t len;
    const char *value = rpc_call_metadata(call, key, &len);
    if (!value || !is_fine(value, len))
        return NULL;
    char *copy = rpc_call_alloc(call, len + 1);
    memcpy(copy, value, len);
    return copy;
}

/* Sets the contexts that the event gets: those of the client, but with the traceparent of our own span if there is
 * one. */
static void set_trace(struct request *request) {
    const char *traceparent = copy_of(request->call, "traceparent", traceparent_is_fine);
    request->trace = rpc_trace_of(request->call);
    request->traceparent = request->trace ? request->trace->event_parent : traceparent;
    if (traceparent)
        request->tracestate = copy_of(request->call, "tracestate", tracestate_is_fine);
}

static struct coupon_service *service_of(Coupon__V1__CouponService_Service *base) {
    return (struct coupon_service *)base;
}

static void request_publish(Coupon__V1__CouponService_Service *base, const Coupon__V1__RequestPublishRequest *input,
                            Coupon__V1__RequestPublishResponse_Closure closure, void *closure_data) {
    struct request *request =
        request_of(REQUEST_PUBLISH, ANSWER_CLOSURE(closure), closure_data, input->coupon_id, input->user_id);
    struct rpc_bad_fields bad = {0};
    check_ids(&bad, request);
    bad_fields_check(&bad, strlen(input->request_id) <= REQUEST_ID_MAX, "request_id",
                     "must have at most 128 bytes, the same on every retry of one request");
    if (refuse_bad(&bad, request))
        return;
    request->request_id = input->request_id;
    set_trace(request);
    if (!gate_push(service_of(base)->gate, request))
        request_refuse_overloaded(request);
}

static void get_status(Coupon__V1__CouponService_Service *base, const Coupon__V1__GetStatusRequest *input,
                       Coupon__V1__GetStatusResponse_Closure closure, void *closure_data) {
    struct request *request =
        request_of(REQUEST_GET_STATUS, ANSWER_CLOSURE(closure), closure_data, input->coupon_id, input->user_id);
    struct rpc_bad_fields bad = {0};
    check_ids(&bad, request);
    if (!refuse_bad(&bad, request) && !status_push(service_of(base)->status, request))
        request_refuse_overloaded(request);
}

static void watch_status(Coupon__V1__CouponService_Service *base, const Coupon__V1__WatchStatusRequest *input,
                         Coupon__V1__WatchStatusResponse_Closure closure, void *closure_data) {
    struct request *request =
        request_of(REQUEST_WATCH_STATUS, ANSWER_CLOSURE(closure), closure_data, input->coupon_id, input->user_id);
    struct rpc_bad_fields bad = {0};
    check_ids(&bad, request);
    if (!refuse_bad(&bad, request))
        watch_add(service_of(base)->watch, request);
}

static void list_user_coupons(Coupon__V1__CouponService_Service *base, const Coupon__V1__ListUserCouponsRequest *input,
                              Coupon__V1__ListUserCouponsResponse_Closure closure, void *closure_data) {
    struct request *request =
        request_of(REQUEST_LIST_USER_COUPONS, ANSWER_CLOSURE(closure), closure_data, 0, input->user_id);
    struct rpc_bad_fields bad = {0};
    bad_fields_check(&bad, request->user_id > 0, "user_id", "must be positive");
    page_read(&bad, input->page_size, input->page_token, &request->page_size, &request->page_after);
    if (!refuse_bad(&bad, request) && !holdings_push(service_of(base)->holdings, request))
        request_refuse_overloaded(request);
}

bool coupon_service_start(struct context *context, ProtobufCService **ret_service, struct err *err) {
    static const Coupon__V1__CouponService_Service base = COUPON__V1__COUPON_SERVICE__INIT();
    (void)err;
    struct coupon_service *service = memory_new(1, sizeof *service);
    service->base = base;
    service->base.request_publish = request_publish;
    service->base.get_status = get_status;
    service->base.watch_status = watch_status;
    service->base.list_user_coupons = list_user_coupons;
    service->gate = context->gate;
    service->status = context->status;
    service->holdings = context->holdings;
    service->watch = context->watch;
    *ret_service = &service->base.base;
    return true;
}

void coupon_service_stop(ProtobufCService *service) {
    free(service);
}

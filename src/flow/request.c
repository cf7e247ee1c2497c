#include "flow/request.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "api/answer.h"
#include "model/event.h"
#include "flow/gate.h"
#include "api/page.h"
#include "flow/status.h"
#include "flow/watch.h"

/* So long an answer takes to get to its client, at most. */
#define ANSWER_US (100 * US_PER_MS)
/* A server that has said nothing for that long is as good as gone: clients want to hear of it. Others may have taken a
 * lane and been stopped, which frees it sooner (store/pg.c). */
#define SILENCE_MAX_US (3 * US_PER_S)
/* A disk that is slow for a moment must not cost a connection, whatever deadlines are set. */
#define SILENCE_MIN_US US_PER_S

struct request_service {
    Coupon__V1__CouponService_Service base; /* first: the stubs hand back a pointer to it */
    struct gate *gate;
    struct status *status;
    struct watch *watch;
};

static struct request *request_of(enum request_kind kind, ProtobufCClosure closure, void *closure_data,
                                  int64_t coupon_id, int64_t user_id) {
    struct rpc_call *call = rpc_call_of(closure_data);
    struct request *request = rpc_call_alloc(call, sizeof *request);
    *request =
        (struct request){.kind = kind, .call = call, .closure = closure, .coupon_id = coupon_id, .user_id = user_id};
    return request;
}

/* A caller that is bound to a user acts for nobody else. True where it would; the call has then been answered. */
static bool refuse_other_user(struct rpc_call *call, int64_t user_id) {
    int64_t subject = rpc_call_subject(call);
    bool is_other = subject && subject != user_id;
    if (is_other)
        answer_permission(call, RPC_PERMISSION_DENIED, "user_id is not the user that this token stands for");
    return is_other;
}

static void check_ids(struct bad_fields *bad, const struct request *request) {
    bad_fields_check(bad, request->coupon_id > 0, "coupon_id", "must be positive");
    bad_fields_check(bad, request->user_id > 0, "user_id", "must be positive");
}

static const char *traceparent_of(struct rpc_call *call) {
    size_t len;
    const char *value = rpc_call_metadata(call, "traceparent", &len);
    if (!value || !traceparent_is_fine(value, len))
        return NULL;
    char *copy = rpc_call_alloc(call, len + 1);
    memcpy(copy, value, len);
    return copy;
}

static void request_publish(Coupon__V1__CouponService_Service *base, const Coupon__V1__RequestPublishRequest *input,
                            Coupon__V1__RequestPublishResponse_Closure closure, void *closure_data) {
    struct request_service *service = (struct request_service *)base;
    struct request *request = request_of(REQUEST_PUBLISH, (ProtobufCClosure)(void (*)(void))closure, closure_data,
                                         input->coupon_id, input->user_id);
    struct bad_fields bad = {0};
    check_ids(&bad, request);
    size_t len = strlen(input->request_id);
    bad_fields_check(&bad, len >= 1 && len <= REQUEST_ID_MAX, "request_id",
                     "must have 1 to 128 bytes, the same on every retry of one request");
    if (bad_fields_answer(&bad, request->call) || refuse_other_user(request->call, request->user_id))
        return;
    request->request_id = input->request_id;
    request->traceparent = traceparent_of(request->call);
    if (!gate_push(service->gate, request))
        answer_overloaded(request->call);
}

static void get_status(Coupon__V1__CouponService_Service *base, const Coupon__V1__GetStatusRequest *input,
                       Coupon__V1__GetStatusResponse_Closure closure, void *closure_data) {
    struct request_service *service = (struct request_service *)base;
    struct request *request = request_of(REQUEST_GET_STATUS, (ProtobufCClosure)(void (*)(void))closure, closure_data,
                                         input->coupon_id, input->user_id);
    struct bad_fields bad = {0};
    check_ids(&bad, request);
    if (bad_fields_answer(&bad, request->call) || refuse_other_user(request->call, request->user_id))
        return;
    if (!status_push(service->status, request))
        answer_overloaded(request->call);
}

static void watch_status(Coupon__V1__CouponService_Service *base, const Coupon__V1__WatchStatusRequest *input,
                         Coupon__V1__WatchStatusResponse_Closure closure, void *closure_data) {
    struct request_service *service = (struct request_service *)base;
    struct request *request = request_of(REQUEST_WATCH_STATUS, (ProtobufCClosure)(void (*)(void))closure, closure_data,
                                         input->coupon_id, input->user_id);
    struct bad_fields bad = {0};
    check_ids(&bad, request);
    if (!bad_fields_answer(&bad, request->call) && !refuse_other_user(request->call, request->user_id))
        watch_add(service->watch, request);
}

static void list_user_coupons(Coupon__V1__CouponService_Service *base, const Coupon__V1__ListUserCouponsRequest *input,
                              Coupon__V1__ListUserCouponsResponse_Closure closure, void *closure_data) {
    struct request_service *service = (struct request_service *)base;
    struct request *request = request_of(REQUEST_LIST_USER_COUPONS, (ProtobufCClosure)(void (*)(void))closure,
                                         closure_data, 0, input->user_id);
    struct bad_fields bad = {0};
    bad_fields_check(&bad, request->user_id > 0, "user_id", "must be positive");
    page_read(&bad, input->page_size, input->page_token, &request->page_size, &request->page_after);
    if (bad_fields_answer(&bad, request->call) || refuse_other_user(request->call, request->user_id))
        return;
    if (!status_push(service->status, request))
        answer_overloaded(request->call);
}

struct request_service *request_service_new(struct gate *gate, struct status *status, struct watch *watch) {
    static const Coupon__V1__CouponService_Service base = COUPON__V1__COUPON_SERVICE__INIT();
    struct request_service *service = calloc(1, sizeof *service);
    if (!service)
        abort();
    service->base = base;
    service->base.request_publish = request_publish;
    service->base.get_status = get_status;
    service->base.watch_status = watch_status;
    service->base.list_user_coupons = list_user_coupons;
    service->gate = gate;
    service->status = status;
    service->watch = watch;
    return service;
}

void request_service_free(struct request_service *service) {
    free(service);
}

ProtobufCService *request_service_base(struct request_service *service) {
    return &service->base.base;
}

bool request_is_dropped(struct request *request) {
    if (!rpc_call_is_cancelled(request->call))
        return false;
    answer_dropped(request->call);
    return true;
}

/* This, or when the call has to be answered. */
static int64_t in_time_for(const struct rpc_call *call, int64_t give_up_us) {
    int64_t last_us = rpc_call_deadline_us(call) - ANSWER_US;
    return last_us < give_up_us ? last_us : give_up_us;
}

int64_t request_give_up_us(struct request *const *requests, size_t n, int64_t patience_us) {
    int64_t give_up_us = clock_mono_us() + patience_us;
    for (size_t i = 0; i < n; i++)
        give_up_us = in_time_for(requests[i]->call, give_up_us);
    return give_up_us;
}

static int64_t but_not_too_soon(int64_t give_up_us) {
    int64_t least_us = clock_mono_us() + SILENCE_MIN_US;
    return give_up_us > least_us ? give_up_us : least_us;
}

int64_t request_silence_us(struct request *const *requests, size_t n) {
    return but_not_too_soon(request_give_up_us(requests, n, SILENCE_MAX_US));
}

int64_t request_silence_of_us(const struct rpc_call *call) {
    return but_not_too_soon(in_time_for(call, clock_mono_us() + SILENCE_MAX_US));
}

void request_refuse_bad_fields(void *arg, struct rpc_call *call, const char *const *fields, const char *const *problems,
                               size_t n) {
    (void)arg;
    struct bad_fields bad = {0};
    for (size_t i = 0; i < n; i++)
        bad_fields_check(&bad, false, fields[i], problems[i]);
    bad_fields_answer(&bad, call);
}

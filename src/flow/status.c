#include "flow/status.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "api/answer.h"
#include "api/page.h"
#include "flow/stage.h"
#include "flow/interruption.h"
#include "store/lookup.h"

struct status {
    struct stage *stage;
    struct pg *pg;
    struct arena arena;
    struct outage outage;
};

static void answer_publish(struct request *request, const struct status_row *row) {
    if (!row->found) {
        if (request->refusal != REFUSAL_NONE)
            answer_refusal(request->call, request->coupon_id, request->refusal, &request->coupon);
        else
            answer_request_not_found(request->call, request->coupon_id, request->user_id);
        return;
    }
    if (strcmp(row->request_id, request->request_id) != 0) {
        answer_already_requested(request->call, row);
        return;
    }
    struct status_message message;
    status_message_init(&message, row);
    Coupon__V1__RequestPublishResponse response = COUPON__V1__REQUEST_PUBLISH_RESPONSE__INIT;
    response.status = &message.status;
    request->closure(&response.base, request->call);
}

static void answer_status(struct request *request, const struct status_row *row, bool coupon_exists) {
    if (!row->found && coupon_exists) {
        answer_request_not_found(request->call, request->coupon_id, request->user_id);
    } else if (!row->found) {
        answer_refusal(request->call, request->coupon_id, REFUSAL_COUPON_NOT_FOUND, NULL);
    } else {
        struct status_message message;
        status_message_init(&message, row);
        Coupon__V1__GetStatusResponse response = COUPON__V1__GET_STATUS_RESPONSE__INIT;
        response.status = &message.status;
        request->closure(&response.base, request->call);
    }
}

static bool answer_list(struct status *status, struct request *request, struct err *err) {
    size_t n, max = (size_t)request->page_size;
    /* One more than asked for tells whether there is another page. */
    struct status_row *rows = ARENA_ARRAY(&status->arena, struct status_row, max + 1);
    if (!lookup_user_coupons(status->pg, &status->arena, request->user_id, request->page_after, (int)max + 1, rows, &n,
                             err))
        return false;
    bool more = n > max;
    n = more ? max : n;
    Coupon__V1__UserCoupon *coupons = ARENA_ARRAY(&status->arena, Coupon__V1__UserCoupon, n);
    Coupon__V1__UserCoupon **pointers = ARENA_ARRAY(&status->arena, Coupon__V1__UserCoupon *, n);
    Google__Protobuf__Timestamp *times = ARENA_ARRAY(&status->arena, Google__Protobuf__Timestamp, n);
    for (size_t i = 0; i < n; i++) {
        coupon__v1__user_coupon__init(&coupons[i]);
        coupons[i].coupon_id = rows[i].coupon_id;
        coupons[i].user_id = rows[i].user_id;
        coupons[i].ticket = rows[i].ticket;
        timestamp_init(&times[i], rows[i].issue_us);
        coupons[i].issue_time = &times[i];
        pointers[i] = &coupons[i];
    }
    char token[PAGE_TOKEN_MAX];
    Coupon__V1__ListUserCouponsResponse response = COUPON__V1__LIST_USER_COUPONS_RESPONSE__INIT;
    response.n_user_coupons = n;
    response.user_coupons = pointers;
    response.next_page_token = page_token(token, n ? rows[n - 1].coupon_id : 0, more);
    request->closure(&response.base, request->call);
    return true;
}

/* For requests that were not found: is there such a coupon at all? */
static bool find_coupons(struct status *status, struct request **requests, const struct status_row *rows, size_t n,
                         struct coupon_row *ret_coupons, struct err *err) {
    size_t missing = 0;
    struct coupon_row *coupons = ARENA_ARRAY(&status->arena, struct coupon_row, n);
    for (size_t i = 0; i < n; i++)
        if (!rows[i].found && requests[i]->kind == REQUEST_GET_STATUS)
            coupons[missing++].id = rows[i].coupon_id;
    int64_t now_us;
    if (missing && !lookup_coupons(status->pg, &status->arena, coupons, missing, &now_us, err))
        return false;
    for (size_t i = n; i-- > 0;)
        if (!rows[i].found && requests[i]->kind == REQUEST_GET_STATUS)
            ret_coupons[i] = coupons[--missing];
    return true;
}

/* On failure *ret_answered says how many, counted from the first, were answered all the same. */
static bool look_up(struct status *status, struct request **requests, size_t n, size_t *ret_answered, struct err *err) {
    *ret_answered = 0;
    struct status_row *rows = ARENA_ARRAY(&status->arena, struct status_row, n);
    struct coupon_row *coupons = arena_zalloc(&status->arena, n * sizeof *coupons);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct status_row){.coupon_id = requests[i]->coupon_id, .user_id = requests[i]->user_id};
    if (!pg_connect(status->pg, err) || !lookup_statuses(status->pg, &status->arena, rows, n, err) ||
        !find_coupons(status, requests, rows, n, coupons, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct request *request = requests[i];
        if (request->kind == REQUEST_PUBLISH)
            answer_publish(request, &rows[i]);
        else if (request->kind == REQUEST_GET_STATUS)
            answer_status(request, &rows[i], coupons[i].exists);
        else if (!answer_list(status, request, err))
            return false;
        ++*ret_answered;
    }
    return true;
}

static void run(void *arg, void **items, size_t n) {
    struct status *status = arg;
    struct request **requests = ARENA_ARRAY(&status->arena, struct request *, n);
    size_t waiting = 0, answered;
    struct err err;
    for (size_t i = 0; i < n; i++)
        if (!request_is_dropped(items[i]))
            requests[waiting++] = items[i];
    pg_give_up_at(status->pg, request_silence_us(requests, waiting));
    if (waiting && look_up(status, requests, waiting, &answered, &err)) {
        trouble_over(&status->outage, "status");
    } else if (waiting) {
        trouble_failed(&status->outage, "status", &err);
        for (size_t i = answered; i < waiting; i++)
            answer_backend(requests[i]->call, &err);
    }
    arena_reset(&status->arena);
}

struct status *status_start(const struct config *config, const struct pg_options *postgres) {
    struct status *status = calloc(1, sizeof *status);
    if (!status)
        abort();
    status->pg = pg_new(postgres);
    arena_init(&status->arena, 256 * 1024);
    status->stage = stage_start("status",
                                &(struct stage_options){.queue_size = (size_t)config->flow_queue_size,
                                                        .batch_max = (size_t)config->status_batch_max,
                                                        .patience_us = config->flow_patience_ms * US_PER_MS},
                                run, status);
    return status;
}

bool status_push(struct status *status, struct request *request) {
    return stage_push(status->stage, request);
}

void status_stop(struct status *status) {
    if (!status)
        return;
    stage_stop(status->stage);
    pg_free(status->pg);
    arena_deinit(&status->arena);
    free(status);
}

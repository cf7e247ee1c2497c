/* SPDX-License-Identifier: Apache-2.0 */
/* The status step; see status.h. */
#include "flow/read/status.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "flow/stage.h"
#include "store/coupon_rows.h"
#include "store/lookup.h"

struct status {
    struct stage *stage;
    struct pg *pg;
    struct arena arena;
    struct outage outage;
};

/* A request gets its first answer in two cases: the ledger has its id, or the row is its own. The row is its own if
 * the transaction was interrupted after the commit, and admit found the row at the next attempt. */
static void end_publish(struct request *request, const struct request_status *status) {
    bool is_own = request->tried_ticket && status->ticket == request->tried_ticket &&
                  status->accept_us == request->tried_us && strcmp(status->request_id, request->request_id) == 0;
    if (status->found && (is_own || request_id_is_repeat(status->request_id, request->request_id)))
        request_answer(request, status);
    else if (status->found)
        request_end_already_requested(request, status);
    else if (request->refusal != REFUSAL_NONE)
        request_refuse(request, request->refusal, &request->coupon);
    else
        request_end_not_found(request);
}

static void end_status(struct request *request, const struct request_status *status, bool coupon_exists) {
    if (status->found)
        request_answer(request, status);
    else if (coupon_exists)
        request_end_not_found(request);
    else
        request_refuse(request, REFUSAL_COUPON_NOT_FOUND, NULL);
}

/* For requests that were not found, finds out whether their coupons exist. */
static bool find_coupons(struct status *status, struct request **requests, const struct request_status *rows, size_t n,
                         bool *ret_exist, struct err *err) {
    size_t missing = 0;
    int64_t *ids = ARENA_ARRAY(&status->arena, int64_t, n);
    bool *exist = ARENA_ARRAY(&status->arena, bool, n);
    for (size_t i = 0; i < n; i++)
        if (!rows[i].found && requests[i]->kind == REQUEST_GET_STATUS)
            ids[missing++] = rows[i].coupon_id;
    if (missing && !coupon_rows_exist(status->pg, &status->arena, ids, missing, exist, err))
        return false;
    for (size_t i = n; i-- > 0;)
        if (!rows[i].found && requests[i]->kind == REQUEST_GET_STATUS)
            ret_exist[i] = exist[--missing];
    return true;
}

/* Looks up and answers the requests. */
static bool look_up(struct status *status, struct request **requests, size_t n, struct err *err) {
    struct request_status *rows = ARENA_ARRAY(&status->arena, struct request_status, n);
    bool *coupon_exists = arena_zalloc(&status->arena, n * sizeof *coupon_exists);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct request_status){.coupon_id = requests[i]->coupon_id, .user_id = requests[i]->user_id};
    if (!pg_connect(status->pg, err) || !lookup_statuses(status->pg, &status->arena, rows, n, err) ||
        !find_coupons(status, requests, rows, n, coupon_exists, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (requests[i]->kind == REQUEST_PUBLISH)
            end_publish(requests[i], &rows[i]);
        else
            end_status(requests[i], &rows[i], coupon_exists[i]);
    }
    return true;
}

static void run(void *arg, void **items, size_t n) {
    struct status *status = arg;
    struct request **requests = ARENA_ARRAY(&status->arena, struct request *, n);
    size_t waiting = request_drop_cancelled(items, n, requests);
    struct err err;
    pg_give_up_at(status->pg, request_silence_us(requests, waiting));
    if (waiting && look_up(status, requests, waiting, &err)) {
        stage_resumed(&status->outage, "status");
    } else if (waiting) {
        stage_interrupted(&status->outage, "status", &err);
        for (size_t i = 0; i < waiting; i++)
            request_fail(requests[i], &err);
    }
    arena_reset(&status->arena);
}

bool status_start(struct context *context, struct status **ret_status, struct err *err) {
    const struct config *config = context->config;
    const struct stage_options options = {
        .queue_size = (size_t)config->flow_queue_size,
        .batch_max = (size_t)config->status_batch_max,
        .patience_us = config->flow_patience_ms * US_PER_MS,
    };
    struct status *status = memory_new(1, sizeof *status);
    status->pg = pg_new(&context->hot);
    arena_init(&status->arena, 256 * 1024);
    if (!stage_start("status", &options, run, status, &status->stage, err)) {
        status_stop(status);
        return false;
    }
    *ret_status = status;
    return true;
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "api/queued_call.h"

#include <stdlib.h>

#include "api/audit_log.h"
#include "base/heart.h"
#include "base/log.h"
#include "base/memory.h"
#include "flow/request.h"
#include "flow/stage.h"

struct call_queue {
    struct call_queue_options options;
    struct stage *stage;
};

/* --- on a poller's thread --- */

void *queued_call_new(void *closure_data, size_t size, ProtobufCClosure closure,
                      bool (*perform)(void *service, void *call, struct err *err)) {
    struct rpc_call *rpc = rpc_call_of(closure_data);
    struct queued_call *call = rpc_call_alloc(rpc, size);
    *call = (struct queued_call){.rpc = rpc, .closure = closure, .perform = perform};
    return call;
}

void queued_call_enqueue(struct queued_call *call, struct call_queue *queue, const struct rpc_bad_fields *bad) {
    audit_log_set_coupon(call->rpc, call->coupon_id);
    if (!bad_fields_answer(bad, call->rpc) && !stage_push(queue->stage, call))
        answer_overloaded(call->rpc);
}

/* --- on the queue's thread --- */

void queued_call_answer(const struct queued_call *call, const ProtobufCMessage *response) {
    audit_log_set_coupon(call->rpc, call->coupon_id); /* CreateCoupon has chosen one */
    audit_log_ok(call->rpc);
    call->closure(response, call->rpc);
}

static bool try(const struct call_queue_options *options, struct queued_call *call, struct err *err) {
    return pg_connect(options->pg, err) && call->perform(options->service, call, err);
}

static void fail(const struct call_queue_options *options, const struct queued_call *call, const struct err *err) {
    if (call->coupon_id)
        log_warn(options->failure_event, LOG_INT("coupon_id", call->coupon_id), LOG_ERR(err));
    else
        log_warn(options->failure_event, LOG_ERR(err));
    answer_backend(call->rpc, err);
}

static void perform(const struct call_queue_options *options, struct queued_call *call) {
    struct err err;
    if (rpc_call_is_cancelled(call->rpc)) {
        answer_dropped(call->rpc);
        return;
    }
    if (options->bounds_silence)
        pg_give_up_at(options->pg, request_silence_of_us(call->rpc));
    bool is_done = try(options, call, &err) || (err.retriable && call->may_repeat && try(options, call, &err));
    if (!is_done)
        fail(options, call, &err);
}

static void run(void *arg, void **items, size_t n) {
    const struct call_queue *queue = arg;
    for (size_t i = 0; i < n; i++) {
        heart_beat();
        perform(&queue->options, items[i]);
        arena_reset(queue->options.arena);
    }
}

/* --- start and stop --- */

bool call_queue_start(const struct call_queue_options *options, struct call_queue **ret_queue, struct err *err) {
    const struct stage_options stage = {.queue_size = options->size, .batch_max = options->batch_max};
    struct call_queue *queue = memory_new(1, sizeof *queue);
    queue->options = *options;
    if (!stage_start(options->name, &stage, run, queue, &queue->stage, err)) {
        free(queue);
        return false;
    }
    *ret_queue = queue;
    return true;
}

void call_queue_stop(struct call_queue *queue) {
    if (!queue)
        return;
    stage_stop(queue->stage);
    free(queue);
}

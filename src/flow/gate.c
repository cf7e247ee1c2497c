/* SPDX-License-Identifier: Apache-2.0 */
/* The gate; see gate.h.
 *
 * If the coupon memory knows enough, the gate decides on the thread that brings the request. Otherwise the request
 * waits for the gate's own thread, which asks Redis and Postgres over its own connections. The memory, which admit
 * shares, has its own lock; everything else belongs to the gate's thread.
 *
 *   flag    the coupon's flag in Redis
 *   truth   the coupon's row in Postgres */
#include "flow/gate.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/memory.h"
#include "base/pair_set.h"
#include "flow/admit.h"
#include "flow/gate/coupon_memory.h"
#include "flow/gate/ticket_holders.h"
#include "flow/read/status.h"
#include "flow/stage.h"
#include "flow/tracing.h"
#include "model/reason.h"
#include "store/coupon_rows.h"
#include "store/flags.h"

struct gate {
    struct stage *stage;
    struct coupon_memory *coupon_memory;
    struct ticket_holders *ticket_holders;
    struct admit *admit;
    struct status *status;
    struct flags *flags;
    struct pg *pg;
    struct arena arena;
    struct outage redis_outage, redis_write_outage, postgres_outage;
    struct metric *redis_reads, *postgres_reads;
};

/* Requests of a batch that the coupon memory could not decide, and their distinct coupons. */
struct undecided {
    size_t n_requests, n_coupons;
    struct request **requests;
    int64_t *coupon_ids; /* distinct */
    struct pair_set seen;
};

static void undecided_init(struct undecided *undecided, struct arena *arena, size_t n) {
    *undecided = (struct undecided){
        .requests = ARENA_ARRAY(arena, struct request *, n),
        .coupon_ids = ARENA_ARRAY(arena, int64_t, n),
    };
    pair_set_init(&undecided->seen, arena, n);
}

static void undecided_add(struct undecided *undecided, struct request *request) {
    undecided->requests[undecided->n_requests++] = request;
    if (pair_set_add(&undecided->seen, request->coupon_id, 0))
        undecided->coupon_ids[undecided->n_coupons++] = request->coupon_id;
}

static void let_in(struct gate *gate, struct request *request) {
    tracing_leave_gate(request, "let_in", NULL);
    if (!admit_push(gate->admit, request))
        request_refuse_overloaded(request);
}

static bool holds_no_ticket(struct gate *gate, const struct coupon *coupon, enum refusal refusal, int64_t user_id) {
    return coupon->accepted == 0 || ticket_holders_exclude(gate->ticket_holders, coupon, refusal, user_id);
}

static void refuse(struct gate *gate, struct request *request) {
    if (request->trace)
        tracing_leave_gate(request, "refused", reason_info(reason_of_refusal(request->refusal))->name);
    if (holds_no_ticket(gate, &request->coupon, request->refusal, request->user_id))
        request_refuse(request, request->refusal, &request->coupon);
    else if (!status_push(gate->status, request))
        request_refuse_overloaded(request);
}

/* Decides with the coupon memory. Requests that need Redis go to `ask_flag`, those that need Postgres to
 * `ask_truth`. */
static void judge(struct gate *gate, struct request *request, struct undecided *ask_flag, struct undecided *ask_truth) {
    switch (coupon_memory_judge(gate->coupon_memory, request->coupon_id, &request->refusal, &request->coupon)) {
    case JUDGE_OPEN:
        let_in(gate, request);
        break;
    case JUDGE_REFUSED:
        refuse(gate, request);
        break;
    case JUDGE_ASK_FLAG:
        undecided_add(ask_flag, request);
        break;
    case JUDGE_ASK_TRUTH:
        undecided_add(ask_truth, request);
        break;
    }
}

static void ask_redis(struct gate *gate, const struct undecided *undecided) {
    struct flag *flags = ARENA_ARRAY(&gate->arena, struct flag, undecided->n_coupons);
    for (size_t i = 0; i < undecided->n_coupons; i++)
        flags[i] = (struct flag){.coupon_id = undecided->coupon_ids[i], .value = FLAG_MISSING};
    struct err err;
    metric_add(gate->redis_reads, 1);
    if (!flags_get(gate->flags, flags, undecided->n_coupons, &err))
        stage_interrupted(&gate->redis_outage, "gate", &err); /* all flags stay missing, so Postgres is asked */
    else
        stage_resumed(&gate->redis_outage, "gate");
    coupon_memory_learn_flags(gate->coupon_memory, flags, undecided->n_coupons);
}

/* Reads the coupons from Postgres, and writes their flags to Redis. Returns false if Postgres fails. */
static bool ask_postgres(struct gate *gate, const struct undecided *undecided, struct err *err) {
    size_t n = undecided->n_coupons, n_flags = 0;
    struct coupon *rows = ARENA_ARRAY(&gate->arena, struct coupon, n);
    struct flag *flags = ARENA_ARRAY(&gate->arena, struct flag, n);
    int64_t now_us;
    for (size_t i = 0; i < n; i++)
        rows[i].id = undecided->coupon_ids[i];
    metric_add(gate->postgres_reads, 1);
    if (!pg_connect(gate->pg, err) || !coupon_rows_load(gate->pg, &gate->arena, rows, n, &now_us, err))
        return false;
    coupon_memory_learn(gate->coupon_memory, rows, n, now_us);
    for (size_t i = 0; i < n; i++)
        if (rows[i].exists)
            flags[n_flags++] = flag_of(&rows[i], now_us);
    struct err redis_err;
    if (n_flags == 0)
        return true;
    FAULT_POINT("gate", "before_flag_write");
    if (flags_set(gate->flags, flags, n_flags, &redis_err)) {
        coupon_memory_learn_flags(gate->coupon_memory, flags, n_flags);
        stage_resumed(&gate->redis_write_outage, "gate");
    } else if (!outage_is_on(&gate->redis_outage)) {
        stage_interrupted(&gate->redis_write_outage, "gate", &redis_err); /* flags can be read, but not written */
    }
    FAULT_POINT("gate", "after_flag_write");
    return true;
}

static void settle_by_truth(struct gate *gate, struct undecided *undecided) {
    struct err err;
    pg_give_up_at(gate->pg, request_silence_us(undecided->requests, undecided->n_requests));
    bool answered = ask_postgres(gate, undecided, &err);
    if (answered)
        stage_resumed(&gate->postgres_outage, "gate");
    else
        stage_interrupted(&gate->postgres_outage, "gate", &err);
    struct undecided none;
    undecided_init(&none, &gate->arena, undecided->n_requests);
    for (size_t i = 0; i < undecided->n_requests; i++)
        if (answered) {
            judge(gate, undecided->requests[i], &none, &none);
        } else {
            tracing_leave_gate(undecided->requests[i], "failed", NULL);
            request_fail(undecided->requests[i], &err);
        }
    /* With a cache of 0 ms, the truth just read may already be too old. Then admit decides. */
    for (size_t i = 0; i < none.n_requests; i++)
        let_in(gate, none.requests[i]);
}

static void run(void *arg, void **items, size_t n) {
    struct gate *gate = arg;
    struct undecided ask_flag, ask_truth, none;
    undecided_init(&ask_flag, &gate->arena, n);
    undecided_init(&ask_truth, &gate->arena, n);
    for (size_t i = 0; i < n; i++)
        if (!request_is_dropped(items[i]))
            judge(gate, items[i], &ask_flag, &ask_truth);
    if (ask_flag.n_requests) {
        ask_redis(gate, &ask_flag);
        undecided_init(&none, &gate->arena, ask_flag.n_requests);
        for (size_t i = 0; i < ask_flag.n_requests; i++)
            judge(gate, ask_flag.requests[i], &none, &ask_truth);
        for (size_t i = 0; i < none.n_requests; i++)
            undecided_add(&ask_truth, none.requests[i]);
    }
    if (ask_truth.n_requests)
        settle_by_truth(gate, &ask_truth);
    arena_reset(&gate->arena);
}

bool gate_start(struct context *context, struct gate **ret_gate, struct err *err) {
    const struct config *config = context->config;
    const struct stage_options options = {
        .queue_size = (size_t)config->flow_queue_size,
        .batch_max = (size_t)config->gate_batch_max,
        .patience_us = config->flow_patience_ms * US_PER_MS,
    };
    struct gate *gate = memory_new(1, sizeof *gate);
    *gate = (struct gate){
        .coupon_memory = context->coupon_memory,
        .ticket_holders = context->ticket_holders,
        .admit = context->admit,
        .status = context->status,
        .pg = pg_new(&context->hot),
        .redis_reads =
            metrics_counter("couponsd_gate_redis_reads_total", "MGET commands that the gate sent to Redis.", ""),
        .postgres_reads =
            metrics_counter("couponsd_gate_postgres_reads_total", "Queries that the gate sent to Postgres.", ""),
    };
    arena_init(&gate->arena, 256 * 1024);
    if (!flags_new(&context->redis, &gate->flags, err) ||
        !stage_start("gate", &options, run, gate, &gate->stage, err)) {
        gate_stop(gate);
        return false;
    }
    *ret_gate = gate;
    return true;
}

/* If admit is behind, refuse the request before Redis or Postgres is asked. Work on requests that can't be served
 * would slow down the others. */
bool gate_push(struct gate *gate, struct request *request) {
    tracing_enter_gate(request);
    switch (coupon_memory_judge(gate->coupon_memory, request->coupon_id, &request->refusal, &request->coupon)) {
    case JUDGE_OPEN:
        tracing_leave_gate(request, "let_in", NULL);
        return admit_push(gate->admit, request);
    case JUDGE_REFUSED:
        refuse(gate, request);
        return true;
    default:
        return admit_has_room(gate->admit, request->coupon_id) && stage_push(gate->stage, request);
    }
}

bool gate_refuses(struct gate *gate, int64_t coupon_id, int64_t user_id, enum refusal *ret_refusal,
                  struct coupon *ret_coupon) {
    return coupon_memory_judge(gate->coupon_memory, coupon_id, ret_refusal, ret_coupon) == JUDGE_REFUSED &&
           holds_no_ticket(gate, ret_coupon, *ret_refusal, user_id);
}

void gate_stop(struct gate *gate) {
    if (!gate)
        return;
    stage_stop(gate->stage);
    flags_free(gate->flags);
    pg_free(gate->pg);
    arena_deinit(&gate->arena);
    free(gate);
}

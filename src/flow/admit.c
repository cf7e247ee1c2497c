/* SPDX-License-Identifier: Apache-2.0 */
/* Admit's workers; see admit.h.
 *
 * There are admit.workers threads. Each has its own connection, queue, arena and coupon cache, and owns the lanes
 * whose number modulo admit.workers is its own. All requests for a coupon go to the worker that owns the coupon's
 * lane, so workers share nothing that needs a lock.
 *
 *   careful batch   reads the ledger before it decides; other batches insert optimistically
 *   recalled batch  decides by what the worker remembers, and is written in one round trip if that is current */
#include "flow/admit.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/ints.h"
#include "base/memory.h"
#include "base/murmur2.h"
#include "flow/counters.h"
#include "flow/gate/coupon_memory.h"
#include "flow/read/status.h"
#include "flow/relay.h"
#include "flow/stage.h"
#include "flow/tracing.h"
#include "model/admit_decide.h"
#include "model/event.h"
#include "model/reason.h"
#include "store/admission.h"

/* The pause between two attempts at an interrupted batch. */
#define RETRY_PAUSE_US (50 * US_PER_MS)
/* How many batches stay careful after one that met a user who is in the ledger already. */
#define CAREFUL_BATCHES 100
/* A larger batch is not recalled. It would save a round trip, but its rows cost more as parts of one statement: with
 * 4,096 requests for one coupon in flight, 14 % fewer coupons a second. */
#define RECALL_MAX 64
/* How many batches ask Postgres after two recalled ones whose memory was stale: other processes use the lane, too. */
#define ASKING_BATCHES 20

struct worker {
    struct admit *admit;
    struct stage *stage;
    struct pg *pg;
    struct coupon_cache *cache;
    struct arena arena;
    int n_careful; /* how many of the next batches read the ledger first */
    int n_asking;  /* how many of the next batches are not recalled */
    bool is_stale; /* the memory of the last recalled batch was stale */
    struct admission_memory memory;
    struct outage outage;
};

struct admit {
    int lanes, n_workers;
    int64_t retry_us;
    struct coupon_memory *coupon_memory;
    struct status *status;
    struct relay *relay;
    struct worker *workers;
};

/* A batch and its decisions. */
struct batch {
    int64_t start_us; /* monotonic */
    struct request **requests;
    size_t n;
    struct admit_ask *asks;
    struct admit_answer *answers;
    struct admission_batch admission;
};

static size_t index_of(const struct coupon *coupons, size_t n, int64_t id) {
    size_t low = 0, high = n;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (coupons[middle].id <= id)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Drops requests whose clients no longer wait, and collects the distinct coupons. */
static void batch_init(struct batch *batch, struct worker *worker, void **items, size_t n) {
    struct arena *arena = &worker->arena;
    *batch = (struct batch){.start_us = clock_mono_us(), .requests = ARENA_ARRAY(arena, struct request *, n)};
    n = batch->n = request_drop_cancelled(items, n, batch->requests);
    int64_t *ids = ARENA_ARRAY(arena, int64_t, n), *sorted = ARENA_ARRAY(arena, int64_t, n);
    int64_t *user_ids = ARENA_ARRAY(arena, int64_t, n);
    for (size_t i = 0; i < n; i++) {
        ids[i] = sorted[i] = batch->requests[i]->coupon_id;
        user_ids[i] = batch->requests[i]->user_id;
    }
    qsort(sorted, n, sizeof *sorted, compare_int64);
    struct coupon *coupons = ARENA_ARRAY(arena, struct coupon, n);
    size_t n_coupons = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || sorted[i] != sorted[i - 1])
            coupons[n_coupons++] = (struct coupon){.id = sorted[i]};
    batch->admission = (struct admission_batch){
        .cache = worker->cache,
        .memory = &worker->memory,
        .n_coupons = n_coupons,
        .coupons = coupons,
        .n_asks = n,
        .coupon_id = ids,
        .user_id = user_ids,
        .in_ledger = ARENA_ARRAY(arena, bool, n),
    };
    batch->asks = ARENA_ARRAY(arena, struct admit_ask, n);
    batch->answers = ARENA_ARRAY(arena, struct admit_answer, n);
}

/* A refused user may be in the ledger, and then gets the first answer. */
static bool find_ledger_users_among_refused(struct worker *worker, struct batch *batch, struct err *err) {
    struct admission_batch *admission = &batch->admission;
    size_t *asks = ARENA_ARRAY(&worker->arena, size_t, batch->n), n = 0;
    for (size_t i = 0; i < batch->n; i++)
        if (batch->answers[i].verdict == ADMIT_REFUSED && batch->answers[i].refusal != REFUSAL_COUPON_NOT_FOUND)
            asks[n++] = i;
    if (n > 0 && !admission_look_up(worker->pg, &worker->arena, admission, asks, n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (admission->in_ledger[asks[i]])
            batch->answers[asks[i]].verdict = ADMIT_IN_LEDGER;
    return true;
}

static void decide(struct batch *batch, struct arena *arena) {
    struct admission_batch *admission = &batch->admission;
    for (size_t i = 0; i < batch->n; i++)
        batch->asks[i] = (struct admit_ask){
            .coupon = index_of(admission->coupons, admission->n_coupons, admission->coupon_id[i]),
            .user_id = admission->user_id[i],
            .in_ledger = admission->in_ledger[i],
        };
    admit_decide(arena, admission->coupons, batch->asks, batch->n, admission->now_us, batch->answers);
}

static void put_event(struct outbox_batch *outbox, int lanes, const struct request *request, int64_t ticket,
                      int64_t accept_us) {
    const struct event event = {
        .coupon_id = request->coupon_id,
        .user_id = request->user_id,
        .ticket = ticket,
        .request_id = request->request_id,
        .request_id_len = strlen(request->request_id),
        .accept_us = accept_us,
        .traceparent = request->traceparent,
        .traceparent_len = request->traceparent ? strlen(request->traceparent) : 0,
        .tracestate = request->tracestate,
        .tracestate_len = request->tracestate ? strlen(request->tracestate) : 0,
    };
    uint8_t bytes[EVENT_MAX];
    const struct outbox_event out = {
        .coupon_id = event.coupon_id,
        .ticket = ticket,
        .payload = {bytes, event_write(STREAM_REQUESTED, &event, bytes)},
        .traceparent = {event.traceparent, event.traceparent_len},
    };
    outbox_put(outbox, murmur2_slot_of_id(out.coupon_id, lanes), &out);
}

/* Fills the rows of the accepted requests. Returns whether there are any. */
static bool fill_rows(struct worker *worker, struct batch *batch, struct admission_rows *ret_ledger,
                      struct outbox_batch *ret_outbox) {
    struct arena *arena = &worker->arena;
    struct admission_rows ledger = {
        .coupon_id = ARENA_ARRAY(arena, int64_t, batch->n),
        .user_id = ARENA_ARRAY(arena, int64_t, batch->n),
        .ticket = ARENA_ARRAY(arena, int64_t, batch->n),
        .request_id = ARENA_ARRAY(arena, const char *, batch->n),
    };
    outbox_batch_init(ret_outbox, arena, &batch->admission.heads);
    for (size_t i = 0; i < batch->n; i++) {
        if (batch->answers[i].verdict != ADMIT_ACCEPTED)
            continue;
        struct request *request = batch->requests[i];
        request->tried_ticket = batch->answers[i].ticket;
        request->tried_us = batch->admission.now_us;
        size_t at = ledger.n++;
        ledger.coupon_id[at] = request->coupon_id;
        ledger.user_id[at] = request->user_id;
        ledger.ticket[at] = batch->answers[i].ticket;
        ledger.request_id[at] = request->request_id;
        put_event(ret_outbox, worker->admit->lanes, request, batch->answers[i].ticket, batch->admission.now_us);
    }
    *ret_ledger = ledger;
    return ledger.n > 0;
}

static bool write_accepted(struct worker *worker, struct batch *batch, struct err *err) {
    struct admission_rows ledger;
    struct outbox_batch outbox;
    if (fill_rows(worker, batch, &ledger, &outbox))
        return admission_write(worker->pg, &worker->arena, &batch->admission, &ledger, &outbox, err);
    admission_abandon(worker->pg, &batch->admission);
    return true;
}

/* Runs the whole transaction, from locking the lanes to the commit. Sets *began before anything can reach Postgres. */
static bool transact(struct worker *worker, struct batch *batch, bool with_ledger, bool *began, struct err *err) {
    if (!pg_connect(worker->pg, err))
        return false;
    *began = true;
    if (!admission_read(worker->pg, &worker->arena, worker->admit->lanes, &batch->admission, with_ledger, err))
        return false;
    decide(batch, &worker->arena);
    return (with_ledger || find_ledger_users_among_refused(worker, batch, err)) && write_accepted(worker, batch, err);
}

/* Tries to do without a question to Postgres. *ret_done: false if the worker's memory does not suffice, is stale, or
 * does not accept all requests. */
static bool transact_recalled(struct worker *worker, struct batch *batch, bool *began, bool *ret_done,
                              struct err *err) {
    struct admission_rows ledger;
    struct outbox_batch outbox;
    *ret_done = false;
    if (!admission_recall(&worker->arena, worker->admit->lanes, &batch->admission))
        return true;
    decide(batch, &worker->arena);
    for (size_t i = 0; i < batch->n; i++)
        if (batch->answers[i].verdict != ADMIT_ACCEPTED)
            return true;
    if (!pg_connect(worker->pg, err))
        return false;
    *began = true;
    fill_rows(worker, batch, &ledger, &outbox);
    enum admission_outcome outcome =
        admission_write_recalled(worker->pg, &worker->arena, &batch->admission, &ledger, &outbox, err);
    *ret_done = outcome == ADMISSION_WRITTEN;
    if (outcome == ADMISSION_STALE)
        worker->n_asking = worker->is_stale ? ASKING_BATCHES : 0;
    worker->is_stale = outcome == ADMISSION_STALE;
    return outcome != ADMISSION_FAILED;
}

static bool transact_optimistically(struct worker *worker, struct batch *batch, bool *began, struct err *err) {
    bool done = false;
    bool tries = worker->n_asking == 0 && batch->n <= RECALL_MAX;
    if (tries && !transact_recalled(worker, batch, began, &done, err))
        return false;
    worker->n_asking -= worker->n_asking > 0;
    return done || transact(worker, batch, false, began, err);
}

/* Inserts optimistically. If the ledger's unique key shows that a user of the batch is in the ledger already,
 * repeats the batch with a read of the ledger, and keeps the next CAREFUL_BATCHES batches careful. */
static bool admit_batch(struct worker *worker, struct batch *batch, bool *began, struct err *err) {
    if (worker->n_careful == 0) {
        if (transact_optimistically(worker, batch, began, err))
            return true;
        if (!*began || !admission_found_in_ledger(err))
            return false;
        worker->n_careful = CAREFUL_BATCHES;
    }
    if (!transact(worker, batch, true, began, err))
        return false;
    worker->n_careful--;
    for (size_t i = 0; i < batch->n; i++)
        if (batch->answers[i].verdict == ADMIT_IN_LEDGER)
            worker->n_careful = CAREFUL_BATCHES;
    return true;
}

static void end_accepted(struct request *request, int64_t ticket, int64_t accept_us) {
    request_answer(request, &(struct request_status){
                                .coupon_id = request->coupon_id,
                                .user_id = request->user_id,
                                .found = true,
                                .request_id = request->request_id,
                                .ticket = ticket,
                                .accept_us = accept_us,
                                .issue_us = NOT_ISSUED,
                            });
}

/* `err` is NULL if the batch was committed. */
static void trace(const struct batch *batch, size_t i, const struct err *err) {
    static const char *const outcomes[] = {
        [ADMIT_ACCEPTED] = "accepted", [ADMIT_IN_LEDGER] = "in_ledger", [ADMIT_REFUSED] = "refused"};
    const struct admit_answer *answer = &batch->answers[i];
    bool is_refused = !err && answer->verdict == ADMIT_REFUSED;
    tracing_admitted(batch->requests[i],
                     &(struct tracing_admission){
                         .start_us = batch->start_us,
                         .batch_size = batch->n,
                         .outcome = err ? "failed" : outcomes[answer->verdict],
                         .reason = is_refused ? reason_info(reason_of_refusal(answer->refusal))->name : NULL,
                         .ticket = !err && answer->verdict == ADMIT_ACCEPTED ? answer->ticket : 0,
                         .err = err,
                     });
}

static void answer_batch(struct worker *worker, struct batch *batch) {
    int64_t accepted = 0;
    rpc_batch_begin();
    for (size_t i = 0; i < batch->n; i++) {
        struct request *request = batch->requests[i];
        const struct admit_answer *answer = &batch->answers[i];
        FAULT_POINT("admit", "amid_answers");
        if (request->trace)
            trace(batch, i, NULL);
        switch (answer->verdict) {
        case ADMIT_ACCEPTED:
            accepted++;
            end_accepted(request, answer->ticket, batch->admission.now_us);
            break;
        case ADMIT_IN_LEDGER:
            if (!status_push(worker->admit->status, request))
                request_refuse_overloaded(request);
            break;
        case ADMIT_REFUSED:
            request_refuse(request, answer->refusal, &batch->admission.coupons[batch->asks[i].coupon]);
            break;
        }
    }
    rpc_batch_end();
    counters_accepted(accepted);
}

static void run(void *arg, void **items, size_t n) {
    struct worker *worker = arg;
    struct batch batch;
    struct err err;
    batch_init(&batch, worker, items, n);
    int64_t give_up_us = request_give_up_us(batch.requests, batch.n, worker->admit->retry_us);
    pg_give_up_at(worker->pg, request_silence_us(batch.requests, batch.n));
    bool began = false, done = batch.n == 0 || admit_batch(worker, &batch, &began, &err);
    /* A batch that has not begun fails at once. A batch that has begun may have been committed: retry, to find out. */
    while (!done && began && err.retriable && clock_mono_us() < give_up_us) {
        stage_interrupted(&worker->outage, "admit", &err);
        clock_sleep_us(RETRY_PAUSE_US);
        /* Read the ledger first: an optimistic try would give tickets again and forget which ones were tried. */
        worker->n_careful = worker->n_careful > 0 ? worker->n_careful : 1;
        done = admit_batch(worker, &batch, &began, &err);
    }
    /* Wake the relay even if the batch failed: an earlier batch may have announced this one to it. */
    relay_wake(worker->admit->relay, stage_is_waited_for(worker->stage));
    if (done && batch.n) {
        stage_resumed(&worker->outage, "admit");
        coupon_memory_learn(worker->admit->coupon_memory, batch.admission.coupons, batch.admission.n_coupons,
                            batch.admission.now_us);
        FAULT_POINT("admit", "before_answers");
        answer_batch(worker, &batch);
        FAULT_POINT("admit", "after_answers");
    } else if (!done) {
        stage_interrupted(&worker->outage, "admit", &err);
        for (size_t i = 0; i < batch.n; i++) {
            if (batch.requests[i]->trace)
                trace(&batch, i, &err);
            request_fail(batch.requests[i], &err);
        }
    }
    arena_reset(&worker->arena);
}

bool admit_start(struct context *context, struct admit **ret_admit, struct err *err) {
    const struct config *config = context->config;
    const struct stage_options options = {
        .queue_size = (size_t)config->flow_queue_size,
        .batch_max = (size_t)config->admit_batch_max,
        .patience_us = config->flow_patience_ms * US_PER_MS,
    };
    struct admit *admit = memory_new(1, sizeof *admit);
    *admit = (struct admit){
        .lanes = (int)config->flow_lanes,
        .retry_us = config->admit_retry_ms * US_PER_MS,
        .coupon_memory = context->coupon_memory,
        .status = context->status,
        .relay = context->relays[STREAM_REQUESTED],
        .workers = memory_new((size_t)config->admit_workers, sizeof *admit->workers),
    };
    while (admit->n_workers < config->admit_workers) {
        struct worker *worker = &admit->workers[admit->n_workers++];
        *worker = (struct worker){.admit = admit, .pg = pg_new(&context->hot), .cache = coupon_cache_new(admit->lanes)};
        arena_init(&worker->arena, 1024 * 1024);
        if (!stage_start("admit", &options, run, worker, &worker->stage, err)) {
            admit_stop(admit);
            return false;
        }
    }
    *ret_admit = admit;
    return true;
}

static struct stage *stage_of(struct admit *admit, int64_t coupon_id) {
    int lane = murmur2_slot_of_id(coupon_id, admit->lanes);
    return admit->workers[lane % admit->n_workers].stage;
}

bool admit_push(struct admit *admit, struct request *request) {
    return stage_push(stage_of(admit, request->coupon_id), request);
}

bool admit_has_room(struct admit *admit, int64_t coupon_id) {
    return stage_has_room(stage_of(admit, coupon_id));
}

void admit_stop(struct admit *admit) {
    if (!admit)
        return;
    for (int i = 0; i < admit->n_workers; i++) {
        stage_stop(admit->workers[i].stage);
        pg_free(admit->workers[i].pg);
        coupon_cache_free(admit->workers[i].cache);
        arena_deinit(&admit->workers[i].arena);
    }
    free(admit->workers);
    free(admit);
}

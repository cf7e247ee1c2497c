/* SPDX-License-Identifier: Apache-2.0 */
/* The load: `concurrency` slots, each with a call in flight. In a closed loop, the callback at the end of a call starts
 * the next one. In an open loop (--rate), a pacer thread starts calls by a timetable.
 *
 * Threads: a slot belongs to the thread that sends from it, then to its call, and then to the callback at the end of
 * the call, which runs on a poller of its remote. The main thread sends requests again that wait for a retry.
 * bench.lock guards the result, and load.lock guards the lists of slots. No thread holds both at once. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "bench.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "output.h"
#include "status.h"

#define TICK_MS         5
#define CANCEL_AFTER_US US_PER_S /* after a signal: then calls without an answer are cancelled */

struct slot {
    struct rpc_client_call call; /* first, so that on_done can cast it to the slot; its inputs are set once */
    struct load *load;
    struct slot *next; /* in the list of idle or of waiting slots */
    struct bench_coupon *coupon;
    int64_t index, user_id;
    char request_id[RUN_LEN_MAX + 48];
    size_t remote;
    int64_t begin_us; /* when it was sent, or by the timetable should have been sent */
    int64_t retry_until_us, due_us;
    int attempt;
    bool is_repeat, is_accepted, has_mismatch;
    int64_t accepted_ticket; /* in the first answer OK to the request */
    /* the answer to the last attempt */
    Coupon__V1__PublishStatus__State state;
    Coupon__V1__RejectReason reject_reason;
    int64_t ticket;
    int code;
    char outcome[OUTCOME_SIZE];
};

struct load {
    struct bench *bench;
    struct slot *slots;
    int64_t total;
    _Atomic int64_t next_index;
    _Atomic int64_t active; /* slots with work; in an open loop the pacer counts as one more */
    atomic_bool stopping;
    _Atomic int64_t last_word_us; /* time of the last answer that a server gave */
    pthread_mutex_t lock;         /* guards the members below */
    pthread_cond_t has_idle;
    struct slot *idle, *waiting;
};

static void on_done(struct rpc_client_call *call, const struct rpc_status *status);

/* --- sending --- */

static void on_response(const Coupon__V1__RequestPublishResponse *response, void *closure_data) {
    struct slot *slot = closure_data;
    const Coupon__V1__PublishStatus *status = response->status;
    slot->has_mismatch = !status || status->coupon_id != slot->coupon->id || status->user_id != slot->user_id ||
                         strcmp(status->request_id, slot->request_id) != 0;
    if (status) {
        slot->state = status->state;
        slot->reject_reason = status->reject_reason;
        slot->ticket = status->ticket;
    }
}

static void send_attempt(struct slot *slot) {
    const struct bench *bench = slot->load->bench;
    Coupon__V1__RequestPublishRequest request = COUPON__V1__REQUEST_PUBLISH_REQUEST__INIT;
    request.coupon_id = slot->coupon->id;
    request.user_id = slot->user_id;
    request.request_id = slot->request_id;
    slot->state = COUPON__V1__PUBLISH_STATUS__STATE__STATE_UNSPECIFIED;
    slot->ticket = 0;
    slot->has_mismatch = false;
    slot->attempt++;
    ProtobufCService *service = coupons_service(bench->remotes[slot->remote++ % bench->n_remotes].client,
                                                &coupon__v1__coupon_service__descriptor);
    coupon__v1__coupon_service__request_publish(service, &request, on_response, slot);
}

static void send_first_attempt(struct slot *slot, int64_t begin_us) {
    slot->begin_us = begin_us;
    slot->attempt = 0;
    slot->retry_until_us = clock_mono_us() + slot->load->bench->retry_for_ms * US_PER_MS;
    send_attempt(slot);
}

static void begin_request(struct slot *slot, int64_t index, int64_t begin_us) {
    struct bench *bench = slot->load->bench;
    slot->index = index;
    slot->coupon = &bench->coupons[(size_t)index % bench->n_coupons];
    slot->user_id = bench->first_user + index / (int64_t)bench->n_coupons;
    snprintf(slot->request_id, sizeof slot->request_id, "%s-%" PRId64 "-%" PRId64, bench->run, slot->coupon->id,
             slot->user_id);
    slot->remote = (size_t)index;
    slot->is_repeat = slot->is_accepted = false;
    send_first_attempt(slot, begin_us);
}

/* Uses a free slot for the next request, or puts it on the list of idle slots. */
static void go_on(struct slot *slot) {
    struct load *load = slot->load;
    if (load->bench->rate > 0) {
        pthread_mutex_lock(&load->lock);
        slot->next = load->idle;
        load->idle = slot;
        pthread_cond_signal(&load->has_idle);
        pthread_mutex_unlock(&load->lock);
        atomic_fetch_sub(&load->active, 1);
        return;
    }
    int64_t index = atomic_load(&load->stopping) ? load->total : atomic_fetch_add(&load->next_index, 1);
    if (index < load->total)
        begin_request(slot, index, clock_mono_us());
    else
        atomic_fetch_sub(&load->active, 1);
}

/* --- answers --- */

static void count_outcome(struct bench_result *result, const char *name) {
    size_t i = 0;
    while (i < result->n_outcomes && strcmp(result->outcomes[i].name, name) != 0)
        i++;
    if (i == OUTCOMES_MAX)
        return;
    if (i == result->n_outcomes)
        snprintf(result->outcomes[result->n_outcomes++].name, OUTCOME_SIZE, "%s", name);
    result->outcomes[i].n++;
}

/* Keeps a uniform sample of the accepted requests: the n-th enters with probability size / n (Vitter's algorithm R). */
static void take_sample(struct bench_result *result, const struct slot *slot) {
    uint64_t x = (uint64_t)slot->index + 0x9E3779B97F4A7C15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    size_t at = result->n_samples < SAMPLES_MAX ? result->n_samples++ : (size_t)(x % (uint64_t)result->accepted);
    if (at < SAMPLES_MAX)
        result->samples[at] = (struct sample){slot->coupon->id, slot->user_id};
}

static void count_ticket(struct bench *bench, struct slot *slot, int64_t now_us) {
    struct bench_coupon *coupon = slot->coupon;
    slot->is_accepted = true;
    slot->accepted_ticket = slot->ticket;
    if (slot->ticket < 1)
        bench_contradict(bench, "%s without a ticket: coupon %" PRId64 " user %" PRId64, slot->outcome, coupon->id,
                         slot->user_id);
    if (slot->ticket <= coupon->accepted_before) {
        bench->result.known++;
        return;
    }
    coupon->given++;
    if (slot->ticket > coupon->max_ticket)
        coupon->max_ticket = slot->ticket;
    bench->result.accepted++;
    bench->result.last_accept_us = now_us;
    take_sample(&bench->result, slot);
    int64_t bit = slot->ticket - coupon->accepted_before - 1;
    if (bit >= coupon->n_bits)
        return;
    uint64_t mask = (uint64_t)1 << (bit % 64);
    if (coupon->tickets[bit / 64] & mask)
        bench_contradict(bench, "ticket %" PRId64 " of coupon %" PRId64 " was given twice, now to user %" PRId64,
                         slot->ticket, coupon->id, slot->user_id);
    coupon->tickets[bit / 64] |= mask;
}

static void check_repeat(struct bench *bench, const struct slot *slot) {
    bench->result.repeats++;
    bool no_answer = code_is_retriable(slot->code) || slot->code == RPC_CANCELLED;
    if (!slot->is_accepted || no_answer || (slot->code == RPC_OK && slot->ticket == slot->accepted_ticket))
        return;
    bench_contradict(bench, "request_id %s was answered ticket %" PRId64 " first, then %s with ticket %" PRId64,
                     slot->request_id, slot->accepted_ticket, slot->outcome, slot->ticket);
}

/* Counts the answer in the slot. */
static void record(struct slot *slot) {
    struct bench *bench = slot->load->bench;
    struct bench_result *result = &bench->result;
    pthread_mutex_lock(&bench->lock);
    int64_t now_us = clock_mono_us();
    result->last_answer_us = now_us;
    result->answers++;
    result->retries += slot->attempt - 1;
    histogram_add(&result->answer_us, now_us - slot->begin_us);
    histogram_add(slot->code == RPC_OK ? &result->served_us : &result->refused_us, now_us - slot->begin_us);
    count_outcome(result, slot->outcome);
    if (slot->has_mismatch)
        bench_contradict(bench, "the answer to request_id %s is about another request", slot->request_id);
    if (slot->is_repeat)
        check_repeat(bench, slot);
    if (slot->code == RPC_OK && !slot->is_accepted)
        count_ticket(bench, slot, now_us);
    if (bench->log)
        fprintf(bench->log, "%" PRId64 " %" PRId64 " %s %s %" PRId64 " %" PRId64 "\n", slot->coupon->id, slot->user_id,
                slot->request_id, slot->outcome, slot->ticket, now_us - slot->begin_us);
    pthread_mutex_unlock(&bench->lock);
}

/* True for about `percent` of the requests, the same ones in every run. */
static bool is_repeated(int64_t index, int64_t percent) {
    return (int64_t)(((uint64_t)index * 0x9E3779B97F4A7C15u >> 32) % 100) < percent;
}

static void finish_request(struct slot *slot) {
    struct load *load = slot->load;
    record(slot);
    if (!slot->is_repeat && is_repeated(slot->index, load->bench->repeat_percent) && !atomic_load(&load->stopping)) {
        slot->is_repeat = true;
        send_first_attempt(slot, clock_mono_us());
    } else {
        go_on(slot);
    }
}

static void wait_for_retry(struct slot *slot, int64_t delay_ms) {
    struct load *load = slot->load;
    slot->due_us = clock_mono_us() + delay_ms * US_PER_MS;
    pthread_mutex_lock(&load->lock);
    slot->next = load->waiting;
    load->waiting = slot;
    pthread_mutex_unlock(&load->lock);
}

/* True if another attempt may succeed. Once no server has answered for the whole time limit of retries, later requests
 * are not retried at all, so that the load ends soon. */
static bool may_retry(const struct slot *slot, int code) {
    const struct bench *bench = slot->load->bench;
    int64_t now_us = clock_mono_us();
    return bench->retry && code_is_retriable(code) && now_us < slot->retry_until_us &&
           now_us < atomic_load(&slot->load->last_word_us) + bench->retry_for_ms * US_PER_MS;
}

/* Stores the outcome in the slot. Returns the delay before another attempt in milliseconds, or -1 for no other
 * attempt. */
static int64_t read_failure(struct slot *slot, const struct rpc_status *status) {
    struct coupons_failure failure;
    coupons_failure_init(&failure, status);
    snprintf(slot->outcome, sizeof slot->outcome, "%s", coupons_failure_name(&failure));
    const char *ticket = coupons_failure_metadata(&failure, "ticket");
    slot->ticket = ticket ? strtoll(ticket, NULL, 10) : 0;
    slot->has_mismatch = false;
    int64_t delay_ms = may_retry(slot, failure.code) ? failure_retry_ms(&failure, slot->attempt) : -1;
    coupons_failure_deinit(&failure);
    return delay_ms;
}

static void on_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct slot *slot = (struct slot *)call;
    slot->code = status->code;
    if (!code_is_retriable(status->code) || status->code == RPC_RESOURCE_EXHAUSTED)
        atomic_store(&slot->load->last_word_us, clock_mono_us());
    if (status->code == RPC_OK) {
        bool rejected = slot->state == COUPON__V1__PUBLISH_STATUS__STATE__STATE_REJECTED;
        snprintf(slot->outcome, sizeof slot->outcome, "%s%s%s", state_name(slot->state), rejected ? "_" : "",
                 rejected ? reject_reason_name(slot->reject_reason) : "");
        finish_request(slot);
        return;
    }
    int64_t delay_ms = read_failure(slot, status);
    if (delay_ms >= 0)
        wait_for_retry(slot, delay_ms);
    else
        finish_request(slot);
}

/* --- the main thread --- */

/* Sends the requests whose delay is over. When stopping, counts the failures of all waiting requests as their
 * answers. */
static void serve_waiting(struct load *load) {
    bool stopping = atomic_load(&load->stopping);
    int64_t now_us = clock_mono_us();
    struct slot *due = NULL;
    pthread_mutex_lock(&load->lock);
    for (struct slot **at = &load->waiting; *at;) {
        struct slot *slot = *at;
        if (!stopping && slot->due_us > now_us) {
            at = &slot->next;
            continue;
        }
        *at = slot->next;
        slot->next = due;
        due = slot;
    }
    pthread_mutex_unlock(&load->lock);
    while (due) {
        struct slot *slot = due;
        due = slot->next;
        if (stopping)
            finish_request(slot);
        else
            send_attempt(slot);
    }
}

static struct slot *take_idle(struct load *load) {
    pthread_mutex_lock(&load->lock);
    while (!load->idle && !atomic_load(&load->stopping))
        pthread_cond_wait(&load->has_idle, &load->lock);
    struct slot *slot = atomic_load(&load->stopping) ? NULL : load->idle;
    if (slot)
        load->idle = slot->next;
    pthread_mutex_unlock(&load->lock);
    return slot;
}

/* The pacer thread: starts requests by the timetable. Latency counts from the time at which the request was due. */
static void *pace(void *arg) {
    struct load *load = arg;
    int64_t begin_us = load->bench->result.begin_us;
    for (int64_t i = 0; i < load->total; i++) {
        int64_t intended_us = begin_us + (int64_t)((double)i * US_PER_S / load->bench->rate);
        struct timespec until = {.tv_sec = (time_t)(intended_us / US_PER_S),
                                 .tv_nsec = (long)(intended_us % US_PER_S * 1000)};
        if (clock_mono_us() < intended_us)
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        struct slot *slot = take_idle(load);
        if (!slot)
            break;
        atomic_fetch_add(&load->active, 1);
        begin_request(slot, i, intended_us);
    }
    atomic_fetch_sub(&load->active, 1);
    return NULL;
}

static void stop_load(struct load *load) {
    pthread_mutex_lock(&load->lock);
    atomic_store(&load->stopping, true);
    pthread_cond_broadcast(&load->has_idle);
    pthread_mutex_unlock(&load->lock);
}

static void tick_until_done(struct load *load) {
    struct bench *bench = load->bench;
    struct progress progress = {0};
    int64_t stopped_us = 0;
    bool is_cancelled = false;
    while (atomic_load(&load->active) > 0) {
        if (bench_tick(bench, TICK_MS) && stopped_us == 0) {
            stop_load(load);
            stopped_us = clock_mono_us();
        }
        serve_waiting(load);
        if (stopped_us != 0 && !is_cancelled && clock_mono_us() > stopped_us + CANCEL_AFTER_US) {
            is_cancelled = true;
            for (int64_t i = 0; i < bench->concurrency; i++)
                rpc_client_call_cancel(&load->slots[i].call);
        }
        progress_show(&progress, bench, "load");
    }
    progress_end(&progress);
}

static void slots_init(struct load *load) {
    struct bench *bench = load->bench;
    load->slots = memory_new((size_t)bench->concurrency, sizeof *load->slots);
    for (int64_t i = 0; i < bench->concurrency; i++) {
        struct slot *slot = &load->slots[i];
        slot->load = load;
        slot->call.timeout_ms = bench->ctl->timeout_ms;
        slot->call.done = on_done;
        slot->next = load->idle;
        load->idle = slot;
    }
}

void bench_load(struct bench *bench) {
    struct load load = {.bench = bench, .total = bench->users * (int64_t)bench->n_coupons};
    pthread_mutex_init(&load.lock, NULL);
    pthread_cond_init(&load.has_idle, NULL);
    slots_init(&load);
    bench->result.begin_us = clock_mono_us();
    atomic_store(&load.last_word_us, bench->result.begin_us);
    pthread_t pacer;
    bool has_pacer = bench->rate > 0;
    if (has_pacer) {
        atomic_store(&load.active, 1);
        if (pthread_create(&pacer, NULL, pace, &load) != 0)
            abort(); /* as when memory runs out */
    } else {
        atomic_store(&load.active, bench->concurrency);
        for (int64_t i = 0; i < bench->concurrency; i++)
            go_on(&load.slots[i]);
    }
    tick_until_done(&load);
    if (has_pacer)
        pthread_join(pacer, NULL);
    free(load.slots);
    pthread_cond_destroy(&load.has_idle);
    pthread_mutex_destroy(&load.lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How requests end, and how long they may wait; see request.h. */
#include "flow/request.h"

#include "base/clock.h"

/* The greatest time that an answer takes to reach its client. */
#define ANSWER_US (100 * US_PER_MS)
/* A backend that is silent for this long counts as unavailable. By then, Postgres has freed the lanes of a process
 * that was stopped while it held them (store/pg.c). */
#define SILENCE_MAX_US (3 * US_PER_S)
/* A disk that is slow for a moment must not cost a connection, whatever deadlines the clients set. */
#define SILENCE_MIN_US US_PER_S

/* --- ending a request --- */

static void end(struct request *request, struct outcome outcome) {
    request->answer(request, &outcome);
}

void request_answer(struct request *request, const struct request_status *status) {
    end(request, (struct outcome){.kind = OUTCOME_STATUS, .statuses = status, .n = 1});
}

void request_end_page(struct request *request, const struct request_status *statuses, size_t n, bool more) {
    end(request, (struct outcome){.kind = OUTCOME_PAGE, .statuses = statuses, .n = n, .more = more});
}

void request_end_already_requested(struct request *request, const struct request_status *status) {
    end(request, (struct outcome){.kind = OUTCOME_ALREADY_REQUESTED, .statuses = status, .n = 1});
}

void request_end_not_found(struct request *request) {
    end(request, (struct outcome){.kind = OUTCOME_REQUEST_NOT_FOUND});
}

void request_refuse(struct request *request, enum refusal refusal, const struct coupon *coupon) {
    end(request, (struct outcome){.kind = OUTCOME_REFUSED, .refusal = refusal, .coupon = coupon});
}

void request_fail(struct request *request, const struct err *err) {
    end(request, (struct outcome){.kind = OUTCOME_BACKEND_FAILED, .err = err});
}

void request_refuse_overloaded(struct request *request) {
    end(request, (struct outcome){.kind = OUTCOME_OVERLOADED});
}

void request_refuse_stopping(struct request *request) {
    end(request, (struct outcome){.kind = OUTCOME_STOPPING});
}

bool request_is_dropped(struct request *request) {
    if (!rpc_call_is_cancelled(request->call))
        return false;
    end(request, (struct outcome){.kind = OUTCOME_DROPPED});
    return true;
}

size_t request_drop_cancelled(void *const *items, size_t n, struct request **ret_requests) {
    size_t n_waiting = 0;
    for (size_t i = 0; i < n; i++)
        if (!request_is_dropped(items[i]))
            ret_requests[n_waiting++] = items[i];
    return n_waiting;
}

/* --- how long a request may wait --- */

/* Returns give_up_us, or the time by which the call has to be answered, whichever is earlier. */
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

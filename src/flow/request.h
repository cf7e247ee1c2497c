/* SPDX-License-Identifier: Apache-2.0 */
/* Step 1, request: a call of CouponService on its way through the steps.
 *
 * api/coupon_service.c decodes and validates a call, makes it a request, and hands it to a step. A request lives in its
 * call's memory and belongs to one step at a time. That step either pushes it on or ends it, exactly once, with one of
 * the functions below. After that nobody may touch the request. (A watched request is the exception: see
 * request_answer.) The steps decide on the outcome; the request's `answer` function turns it into messages and
 * errors. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/err.h"
#include "model/coupon.h"
#include "rpc/server.h"

enum request_kind { REQUEST_PUBLISH, REQUEST_GET_STATUS, REQUEST_WATCH_STATUS, REQUEST_LIST_USER_COUPONS };

/* The outcome of a request. */
struct outcome {
    enum {
        OUTCOME_STATUS,            /* `statuses`: one, of a ticket that was given now or before */
        OUTCOME_PAGE,              /* `statuses`: n of a user's coupons; `more`: another page follows */
        OUTCOME_ALREADY_REQUESTED, /* `statuses`: one, of the user's request with another request_id */
        OUTCOME_REQUEST_NOT_FOUND,
        OUTCOME_REFUSED,        /* `refusal`; `coupon` is the row that decided, or NULL */
        OUTCOME_BACKEND_FAILED, /* `err` */
        OUTCOME_OVERLOADED,
        OUTCOME_STOPPING,
        OUTCOME_DROPPED, /* the client no longer waits */
    } kind;
    const struct request_status *statuses;
    size_t n;
    bool more;
    enum refusal refusal;
    const struct coupon *coupon;
    const struct err *err;
};

struct request {
    enum request_kind kind;
    struct rpc_call *call;
    ProtobufCClosure closure;
    /* Answers the call. Copies what it needs of *outcome. Any thread. */
    void (*answer)(struct request *request, const struct outcome *outcome);
    int64_t coupon_id, user_id;
    const char *request_id; /* REQUEST_PUBLISH; "" if the client sent none; valid until the answer */
    /* REQUEST_PUBLISH: the contexts for the event. NULL if there is none; of at most TRACEPARENT_MAX and TRACESTATE_MAX
     * bytes; valid until the answer. */
    const char *traceparent, *tracestate;
    struct request_trace *trace; /* flow/tracing.h; NULL: no spans are recorded; valid until the answer */
    int32_t page_size;           /* REQUEST_LIST_USER_COUPONS: the greatest number of coupons to return */
    int64_t page_after;          /* REQUEST_LIST_USER_COUPONS: return coupons with a greater id */
    /* Set by admit: the ticket and the accept time of an attempt that was interrupted, by which the request
     * recognizes its own row in the ledger. 0: no such attempt. */
    int64_t tried_ticket, tried_us;
    /* Set by the gate: the answer if the user is not in the ledger, and the coupon's row that decided. */
    enum refusal refusal;
    struct coupon coupon;
};

/* --- ending a request; any thread --- */

/* Answers with a status, which ends the request. A REQUEST_WATCH_STATUS goes on until the status is final. */
void request_answer(struct request *request, const struct request_status *status);
void request_end_page(struct request *request, const struct request_status *statuses, size_t n, bool more);
void request_end_already_requested(struct request *request, const struct request_status *status);
void request_end_not_found(struct request *request);
void request_refuse(struct request *request, enum refusal refusal, const struct coupon *coupon);
void request_fail(struct request *request, const struct err *err);
void request_refuse_overloaded(struct request *request);
void request_refuse_stopping(struct request *request);
/* Ends the request if its client no longer waits. Returns true if it did. */
bool request_is_dropped(struct request *request);
/* Does so with the requests of a batch. Writes those that are left, in their order, into ret_requests, which has room
 * for n. Returns their number. */
size_t request_drop_cancelled(void *const *items, size_t n, struct request **ret_requests);

/* --- how long a request may wait for a backend; monotonic microseconds --- */

/* Returns when to refuse these requests if a backend stays unavailable: after patience_us, but early enough that
 * each client gets the answer before its deadline. */
int64_t request_give_up_us(struct request *const *requests, size_t n, int64_t patience_us);
/* Returns when to give up on a backend that is connected but silent. At least 1 s from now: a call with a short
 * deadline must not cost the connection. request_silence_of_us is the same for one call. */
int64_t request_silence_us(struct request *const *requests, size_t n);
int64_t request_silence_of_us(const struct rpc_call *call);

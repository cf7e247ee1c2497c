/* Step 1, request: what a caller of CouponService asks for, on its way through the steps.
 *
 * api/coupon_service.c decodes and validates a call, makes it a request, and hands it to a step. A request lives in its
 * call's memory and belongs to one step at a time. That step either pushes it on, or ends it with one of the functions
 * below, exactly once; after that the request must not be touched. (A watched request is the exception: see
 * request_tell.) The steps decide what the outcome is; the request's `answer` turns it into messages and errors. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/err.h"
#include "model/coupon.h"
#include "rpc/server.h"

enum request_kind { REQUEST_PUBLISH, REQUEST_GET_STATUS, REQUEST_WATCH_STATUS, REQUEST_LIST_USER_COUPONS };

/* What became of a request. */
struct outcome {
    enum {
        OUTCOME_STATUS,            /* `statuses`: one, of a ticket given now or before */
        OUTCOME_PAGE,              /* `statuses`: n of a user's coupons; there are `more` behind them */
        OUTCOME_ALREADY_REQUESTED, /* `statuses`: one, of the user's request with another request_id */
        OUTCOME_REQUEST_NOT_FOUND,
        OUTCOME_REFUSED,        /* `refusal`; `coupon` is the coupon it was decided by, or NULL */
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
    const char *request_id;  /* REQUEST_PUBLISH; "" where the client sent none; valid until the answer */
    const char *traceparent; /* NULL where the client sent none */
    int32_t page_size;       /* REQUEST_LIST_USER_COUPONS: how many coupons at most */
    int64_t page_after;      /* REQUEST_LIST_USER_COUPONS: the coupon id to go on after */
    /* Set on the way by admit: the ticket and the accept time of a try that was interrupted, so that the request knows
     * its own row in the ledger again. 0: there was none. */
    int64_t tried_ticket, tried_us;
    /* Set on the way: the answer where the ledger does not know this user, and the coupon as it was seen. */
    enum refusal refusal;
    struct coupon coupon;
};

/* --- ending a request; any thread --- */

/* A status that ends the request. */
void request_end(struct request *request, const struct request_status *status);
void request_end_page(struct request *request, const struct request_status *statuses, size_t n, bool more);
void request_end_already_requested(struct request *request, const struct request_status *status);
void request_end_not_found(struct request *request);
void request_refuse(struct request *request, enum refusal refusal, const struct coupon *coupon);
void request_fail(struct request *request, const struct err *err);
void request_refuse_overloaded(struct request *request);
void request_refuse_stopping(struct request *request);
/* Ends the request if its client no longer waits. True when it did. */
bool request_is_dropped(struct request *request);

/* Tells the client of a REQUEST_WATCH_STATUS where the request stands. A final status ends the request; after another
 * one it goes on. */
void request_tell(struct request *request, const struct request_status *status);

/* --- how long a request may wait for a backend; monotonic microseconds --- */

/* When these requests have to be refused if a backend stays away: after patience_us, and in time for each client to
 * hear of it before its deadline. */
int64_t request_give_up_us(struct request *const *requests, size_t n, int64_t patience_us);
/* When these requests have to be refused if a backend is there but says nothing. A call that leaves hardly any time for
 * an answer does not cost the connection. */
int64_t request_silence_us(struct request *const *requests, size_t n);
int64_t request_silence_of_us(const struct rpc_call *call);

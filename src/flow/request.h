/* Step 1, request: the RPCs of CouponService as they come in. Decodes, validates, names every bad field, and hands over
 * to a stage; never blocks its poller.
 *
 * A `struct request` lives in its call's memory and belongs to one stage at a time. Whoever has it answers the call
 * exactly once, or pushes it on; after the answer it must not be touched. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "rpc/server.h"
#include "model/coupon.h"

enum request_kind { REQUEST_PUBLISH, REQUEST_GET_STATUS, REQUEST_WATCH_STATUS, REQUEST_LIST_USER_COUPONS };

struct request {
    enum request_kind kind;
    struct rpc_call *call;
    ProtobufCClosure closure;
    int64_t coupon_id, user_id;
    const char *request_id;  /* REQUEST_PUBLISH; valid until the answer */
    const char *traceparent; /* NULL where the client sent none */
    int32_t page_size;       /* REQUEST_LIST_USER_COUPONS */
    int64_t page_after;
    /* Set on the way: what the answer is unless the ledger knows this user, and the coupon as it was seen. */
    enum refusal refusal;
    struct coupon_row coupon;
};

struct gate;
struct status;
struct watch;

struct request_service;
/* The service that feeds the stages given. */
struct request_service *request_service_new(struct gate *gate, struct status *status, struct watch *watch);
void request_service_free(struct request_service *service);
ProtobufCService *request_service_base(struct request_service *service);

/* True when the client no longer waits; the call has then been answered. */
bool request_is_dropped(struct request *request);

/* When these have to be refused, if a server that is needed stays away: after patience_us, and in time for each client
 * to hear of it before its deadline. */
int64_t request_give_up_us(struct request *const *requests, size_t n, int64_t patience_us);
/* The same where that server is there, but says nothing: not for a call that hardly leaves time for any answer. */
int64_t request_silence_us(struct request *const *requests, size_t n);
int64_t request_silence_of_us(const struct rpc_call *call);

/* For rpc_server_options: turns the bridge's findings into the contract's INVALID_FIELD. */
void request_refuse_bad_fields(void *arg, struct rpc_call *call, const char *const *fields, const char *const *problems,
                               size_t n);

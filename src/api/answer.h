/* SPDX-License-Identifier: Apache-2.0 */
/* How calls end: the contract's errors with their details, and its messages built from rows. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "coupon/v1/coupon.pb-c.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "model/coupon.h"
#include "model/reason.h"
#include "rpc/server.h"
#include "store/coupons.h"

/* SOLD_OUT, NOT_OPEN, PAUSED, CLOSED, EXPIRED, COUPON_NOT_FOUND. */
void answer_refusal(struct rpc_call *call, int64_t coupon_id, enum refusal refusal, const struct coupon *coupon);
/* ALREADY_REQUESTED. */
void answer_already_requested(struct rpc_call *call, const struct request_status *row);
/* REQUEST_NOT_FOUND. */
void answer_request_not_found(struct rpc_call *call, int64_t coupon_id, int64_t user_id);
/* COUPON_EXISTS. */
void answer_coupon_exists(struct rpc_call *call, int64_t coupon_id);
/* A reason that comes without metadata. `message`: NULL is the table's text. */
void answer_reason(struct rpc_call *call, enum reason reason, const char *message);
/* PERMISSION with its other code: the client did not prove who it is. */
void answer_unauthenticated(struct rpc_call *call, const char *message);
/* OVERLOADED. */
void answer_overloaded(struct rpc_call *call);
/* BACKEND_UNAVAILABLE, or INTERNAL where no repeat will help. */
void answer_backend(struct rpc_call *call, const struct err *err);
/* The server is going down: UNAVAILABLE, come back. */
void answer_stopping(struct rpc_call *call);
/* The client no longer waits. */
void answer_dropped(struct rpc_call *call);

/* A stub's typed closure as protobuf-c's general one; both take a pointer to a message and the closure_data. */
#define ANSWER_CLOSURE(closure) ((ProtobufCClosure)(void (*)(void))(closure))

/* INVALID_FIELD with every bad field. */
void answer_bad_fields(struct rpc_call *call, const struct rpc_bad_field *bad, size_t n);

/* Adds `field` with its problem where it is not `ok`. Fields beyond RPC_BAD_FIELDS_MAX are dropped. */
void bad_fields_check(struct rpc_bad_fields *bad, bool ok, const char *field, const char *problem);
/* True if there are any; the call has then been answered. */
bool bad_fields_answer(const struct rpc_bad_fields *bad, struct rpc_call *call);

/* A PublishStatus with what it points to; all in one place, so that it can stand on the stack. */
struct status_message {
    Coupon__V1__PublishStatus status;
    Google__Protobuf__Timestamp accept_time, issue_time;
};
void status_message_init(struct status_message *message, const struct request_status *row);

struct coupon_message {
    Coupon__V1__Coupon coupon;
    Google__Protobuf__Timestamp open_time, expire_time, create_time;
};
void coupon_message_init(struct coupon_message *message, const struct coupon_detail *detail, bool available);

void timestamp_init(Google__Protobuf__Timestamp *timestamp, int64_t wall_us);
/* False when it is out of the range of what is stored (years 1 to 9999, nanos 0 to 999,999,999). */
bool timestamp_read(const Google__Protobuf__Timestamp *timestamp, int64_t *ret_wall_us);

/* For rpc_server_options: turns the bridge's findings into INVALID_FIELD. */
void answer_on_bad_fields(void *arg, struct rpc_call *call, const struct rpc_bad_fields *bad);

/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of the services: the contract's errors with their details, and messages that are built from rows of the
 * store. Each answer_ function ends its call. Any thread. */
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
/* The same for a call that is refused early, with the reason as its tag; valid until this thread refuses another call.
 * NULL: it is too large. */
const struct rpc_refusal *answer_early(int64_t coupon_id, enum refusal refusal, const struct coupon *coupon);
/* ALREADY_REQUESTED. */
void answer_already_requested(struct rpc_call *call, const struct request_status *row);
/* REQUEST_NOT_FOUND. */
void answer_request_not_found(struct rpc_call *call, int64_t coupon_id, int64_t user_id);
/* COUPON_EXISTS. */
void answer_coupon_exists(struct rpc_call *call, int64_t coupon_id);
/* A reason without metadata. If `message` is NULL, the text is that of the table. */
void answer_reason(struct rpc_call *call, enum reason reason, const char *message);
/* PERMISSION with the code UNAUTHENTICATED: the client's credentials are missing or unknown. */
void answer_unauthenticated(struct rpc_call *call, const char *message);
/* OVERLOADED. */
void answer_overloaded(struct rpc_call *call);
/* BACKEND_UNAVAILABLE if the error is retriable, or else INTERNAL. */
void answer_backend(struct rpc_call *call, const struct err *err);
/* STOPPING. */
void answer_stopping(struct rpc_call *call);
/* DROPPED: the client no longer waits, so the call ends without details. */
void answer_dropped(struct rpc_call *call);

/* Casts a stub's typed closure to protobuf-c's general type. Both take a pointer to a message and the closure_data. */
#define ANSWER_CLOSURE(closure) ((ProtobufCClosure)(void (*)(void))(closure))

/* INVALID_FIELD, with all `n` bad fields. */
void answer_bad_fields(struct rpc_call *call, const struct rpc_bad_field *bad, size_t n);

/* Adds a bad field unless `ok`. Drops fields beyond RPC_BAD_FIELDS_MAX. */
void bad_fields_check(struct rpc_bad_fields *bad, bool ok, const char *field, const char *problem);
/* Answers the call if there are bad fields. Returns whether it did. */
bool bad_fields_answer(const struct rpc_bad_fields *bad, struct rpc_call *call);

/* A PublishStatus and the messages that it points to, so that all of it can be on the stack. */
struct status_message {
    Coupon__V1__PublishStatus status;
    Google__Protobuf__Timestamp accept_time, issue_time;
};
void status_message_init(struct status_message *message, const struct request_status *row);

/* A Coupon and the messages that it points to. */
struct coupon_message {
    Coupon__V1__Coupon coupon;
    Google__Protobuf__Timestamp open_time, expire_time, create_time;
};
void coupon_message_init(struct coupon_message *message, const struct coupon_detail *detail, bool available);

/* Converts microseconds since 1970. */
void timestamp_init(Google__Protobuf__Timestamp *timestamp, int64_t wall_us);
/* Converts to microseconds since 1970. Returns false if the time is outside the years 1 to 9999, or if nanos is not
 * from 0 to 999,999,999. */
bool timestamp_read(const Google__Protobuf__Timestamp *timestamp, int64_t *ret_wall_us);

/* The `on_bad_fields` of rpc_server_options: answers INVALID_FIELD for fields that the bridge refuses. */
void answer_on_bad_fields(void *arg, struct rpc_call *call, const struct rpc_bad_fields *bad);

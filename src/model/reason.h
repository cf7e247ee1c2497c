/* SPDX-License-Identifier: Apache-2.0 */
/* The table of reasons: why couponsd refuses a call. It has each reason's name, canonical code, delay before a
 * repeat, text and advice. The answers (api/answer.c), the metric couponsd_refused_total, docs/reference/reasons.md
 * (couponsd --reasons markdown) and couponctl read it.
 *
 * To add a reason: add it here before REASON_DROPPED, to the table in reason.c, and with the same number to enum
 * ErrorReason in proto/coupon/v1/error_reason.proto. Tests compare them, the codes in the enum's comments included.
 * Numbers are never reused.
 *
 * All functions are pure: any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/coupon.h"

/* The numbers of coupon.v1.ErrorReason. */
enum reason {
    REASON_NONE = 0,
    REASON_SOLD_OUT = 1,
    REASON_NOT_OPEN = 2,
    REASON_PAUSED = 3,
    REASON_CLOSED = 4,
    REASON_EXPIRED = 5,
    REASON_ALREADY_REQUESTED = 6,
    REASON_COUPON_NOT_FOUND = 7,
    REASON_REQUEST_NOT_FOUND = 8,
    REASON_INVALID_FIELD = 9,
    REASON_OVERLOADED = 10,
    REASON_BACKEND_UNAVAILABLE = 11,
    REASON_PERMISSION = 12,
    REASON_COUPON_EXISTS = 13,
    REASON_STOPPING = 14,
    REASON_INTERNAL = 15,
    REASON_TOPIC_NOT_FOUND = 16,
    REASON_TOPIC_EXISTS = 17,
    REASON_TOPIC_IN_USE = 18,
    REASON_TOPIC_NOT_DRAINED = 19,
    REASON_TOPIC_VERSIONS_FULL = 20,
    REASON_DEAD_LETTER_NOT_FOUND = 21,
    /* Counted, but never sent, since the client no longer waits. Not in the proto. */
    REASON_DROPPED,
    REASONS,
};

struct reason_info {
    const char *name; /* "SOLD_OUT": ErrorInfo.reason, and the metric's label */
    int code;         /* enum rpc_code */
    int other_code;   /* of a second case that `text` describes; 0: none */
    /* RetryInfo.retry_delay, in milliseconds. 0: the same request would be refused again until something changes. */
    int64_t retry_after_ms;
    /* The status message. {NAME} stands for the value of ErrorInfo's metadata with that name. Some answers have a
     * more precise message; this one then only explains the reason in the docs. */
    const char *text;
    const char *metadata; /* names of ErrorInfo's metadata, separated by ", "; "" if none */
    const char *hint;     /* advice, which couponctl prints */
};

/* Returns a reason's entry; never NULL, static. `reason` must be neither REASON_NONE nor REASONS. */
const struct reason_info *reason_info(enum reason reason);
/* Returns the reason with this name, or REASON_NONE if there is none. */
enum reason reason_named(const char *name);
/* Converts a refusal into a reason. `refusal` must not be REFUSAL_NONE. */
enum reason reason_of_refusal(enum refusal refusal);
/* True if the client may send the same request again after retry_after_ms. */
bool reason_is_retriable(enum reason reason);

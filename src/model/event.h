/* SPDX-License-Identifier: Apache-2.0 */
/* Encodes and decodes the two Kafka events of the contract. The code is written by hand for speed: every coupon
 * costs four encodings or decodings. A unit test compares it with the generated code.
 *
 *   coupon.v1.PublishRequested   STREAM_REQUESTED
 *   coupon.v1.Published          STREAM_PUBLISHED
 *
 * All functions are pure: any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/coupon.h"

/* The greatest lengths of request_id, traceparent and tracestate, in bytes. */
#define REQUEST_ID_MAX  128
#define TRACEPARENT_MAX 128 /* a traceparent of version 00 has 55 */
#define TRACESTATE_MAX  512 /* W3C wants at least as much to be passed on */

/* The greatest length of an encoded event, in bytes. */
#define EVENT_MAX (4 * 11 + 2 * 32 + REQUEST_ID_MAX + TRACEPARENT_MAX + TRACESTATE_MAX + 16)

/* In an event that event_read has filled, the strings point into the encoded bytes and have no terminating NUL. */
struct event {
    int64_t coupon_id, user_id, ticket;
    const char *request_id;
    size_t request_id_len; /* event_write takes at most REQUEST_ID_MAX */
    int64_t accept_us;     /* wall microseconds since 1970 */
    int64_t issue_us;      /* only in Published */
    const char *traceparent;
    size_t traceparent_len; /* 0: none; event_write takes at most TRACEPARENT_MAX */
    const char *tracestate;
    size_t tracestate_len; /* 0: none; event_write takes at most TRACESTATE_MAX */
};

/* True if the value can be passed on as a traceparent: 1 to TRACEPARENT_MAX bytes of printable ASCII. */
bool traceparent_is_fine(const char *value, size_t len);
/* The same for a tracestate, of 1 to TRACESTATE_MAX bytes. */
bool tracestate_is_fine(const char *value, size_t len);

/* Encodes the event. Returns its length in bytes. */
size_t event_write(enum stream stream, const struct event *event, uint8_t bytes[static EVENT_MAX]);
/* Decodes an event. Returns false if the bytes are malformed. Absent times become 0; unknown fields are skipped.
 * `bytes` may be NULL with a length of 0, as in a tombstone. */
bool event_read(enum stream stream, const void *bytes, size_t len, struct event *ret_event);

/* The events of the contract, written and read by hand: four times a coupon, which makes the generic way a good part of
 * what a coupon costs. A test compares it with the generated code.
 *
 *   coupon.v1.PublishRequested   STREAM_REQUESTED
 *   coupon.v1.Published          STREAM_PUBLISHED */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/coupon.h"

/* request_id's and traceparent's longest, in bytes. */
#define REQUEST_ID_MAX  128
#define TRACEPARENT_MAX 128 /* version 00 has 55 */

/* Bytes of an event at most. */
#define EVENT_MAX (4 * 11 + 2 * 32 + REQUEST_ID_MAX + TRACEPARENT_MAX + 8)

/* Strings are not NUL-terminated where the event was read: they lie in its bytes. */
struct event {
    int64_t coupon_id, user_id, ticket;
    const char *request_id;
    size_t request_id_len; /* up to REQUEST_ID_MAX when written */
    int64_t accept_us;     /* wall microseconds since 1970 */
    int64_t issue_us;      /* of Published */
    const char *traceparent;
    size_t traceparent_len; /* 0: there is none; of PublishRequested, up to TRACEPARENT_MAX when written */
};

/* Whether this may be passed on as a traceparent: printable ASCII, and no longer than any version of W3C trace context
 * will need. */
bool traceparent_is_fine(const char *value, size_t len);

/* Returns how many bytes it has. */
size_t event_write(enum stream stream, const struct event *event, uint8_t bytes[static EVENT_MAX]);
/* False when it can't be decoded. Times that are absent are 0; fields that are not known are passed over. */
bool event_read(enum stream stream, const void *bytes, size_t len, struct event *ret_event);

/* SPDX-License-Identifier: Apache-2.0 */
/* The protobuf wire format of the two events, by hand; see event.h. `put_…` functions write at a position and return
 * the position behind; `take_…` functions read from a `struct reader` and move it forward. */
#include "model/event.h"

#include <string.h>

#include "base/clock.h"

/* Field numbers. Published has an issue_time, behind which the contexts follow. */
enum { COUPON_ID = 1, USER_ID, REQUEST_ID, TICKET, ACCEPT_TIME };
enum { ISSUE_TIME = 6 };
static const int traceparent_field[STREAMS] = {[STREAM_REQUESTED] = 6, [STREAM_PUBLISHED] = 7};
static const int tracestate_field[STREAMS] = {[STREAM_REQUESTED] = 7, [STREAM_PUBLISHED] = 8};
enum { SECONDS = 1, NANOS };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static bool is_printable(const char *value, size_t len, size_t max) {
    if (len == 0 || len > max)
        return false;
    for (size_t i = 0; i < len; i++)
        if (value[i] < ' ' || value[i] > '~')
            return false;
    return true;
}

bool traceparent_is_fine(const char *value, size_t len) {
    return is_printable(value, len, TRACEPARENT_MAX);
}

bool tracestate_is_fine(const char *value, size_t len) {
    return is_printable(value, len, TRACESTATE_MAX);
}

/* --- writing --- */

static uint8_t *put_varint(uint8_t *at, uint64_t value) {
    while (value > 0x7f) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_number(uint8_t *at, int field, int64_t value) {
    return value ? put_varint(put_varint(at, (uint64_t)field << 3 | VARINT), (uint64_t)value) : at;
}

static uint8_t *put_bytes(uint8_t *at, int field, const void *bytes, size_t len) {
    if (len == 0)
        return at;
    at = put_varint(put_varint(at, (uint64_t)field << 3 | BYTES), len);
    memcpy(at, bytes, len);
    return at + len;
}

/* A google.protobuf.Timestamp. The field is written even if the time is 0 and the message is empty. */
static uint8_t *put_time(uint8_t *at, int field, int64_t wall_us) {
    uint8_t message[32];
    int64_t seconds = wall_us / US_PER_S, rest = wall_us % US_PER_S;
    if (rest < 0) {
        seconds--;
        rest += US_PER_S;
    }
    size_t len = (size_t)(put_number(put_number(message, SECONDS, seconds), NANOS, rest * 1000) - message);
    at = put_varint(put_varint(at, (uint64_t)field << 3 | BYTES), len);
    memcpy(at, message, len);
    return at + len;
}

size_t event_write(enum stream stream, const struct event *event, uint8_t bytes[static EVENT_MAX]) {
    uint8_t *at = bytes;
    at = put_number(at, COUPON_ID, event->coupon_id);
    at = put_number(at, USER_ID, event->user_id);
    at = put_bytes(at, REQUEST_ID, event->request_id, event->request_id_len);
    at = put_number(at, TICKET, event->ticket);
    at = put_time(at, ACCEPT_TIME, event->accept_us);
    if (stream == STREAM_PUBLISHED)
        at = put_time(at, ISSUE_TIME, event->issue_us);
    at = put_bytes(at, traceparent_field[stream], event->traceparent, event->traceparent_len);
    at = put_bytes(at, tracestate_field[stream], event->tracestate, event->tracestate_len);
    return (size_t)(at - bytes);
}

/* --- reading --- */

struct reader {
    const uint8_t *at, *end;
};

static bool take_varint(struct reader *reader, uint64_t *ret) {
    uint64_t value = 0;
    for (int shift = 0; shift < 70 && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

/* A field's number and type, and its content: a number in `value`, or bytes in `bytes`. */
struct field {
    int number, type;
    uint64_t value;
    struct reader bytes;
};

static bool take_bytes(struct reader *reader, uint64_t len, struct reader *ret) {
    if (len > (uint64_t)(reader->end - reader->at))
        return false;
    *ret = (struct reader){reader->at, reader->at + len};
    reader->at += len;
    return true;
}

static bool take_field(struct reader *reader, struct field *ret) {
    uint64_t key, len;
    if (!take_varint(reader, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return false;
    ret->number = (int)(key >> 3);
    ret->type = (int)(key & 7);
    switch (ret->type) {
    case VARINT:
        return take_varint(reader, &ret->value);
    case FIXED64:
        return take_bytes(reader, 8, &ret->bytes);
    case FIXED32:
        return take_bytes(reader, 4, &ret->bytes);
    case BYTES:
        return take_varint(reader, &len) && take_bytes(reader, len, &ret->bytes);
    default: /* groups: the contract has none */
        return false;
    }
}

static bool read_time(struct reader reader, int64_t *ret_wall_us) {
    int64_t seconds = 0;
    int32_t nanos = 0;
    while (reader.at < reader.end) {
        struct field field;
        if (!take_field(&reader, &field))
            return false;
        if (field.number > NANOS)
            continue;
        if (field.type != VARINT)
            return false;
        if (field.number == SECONDS)
            seconds = (int64_t)field.value;
        else
            nanos = (int32_t)field.value;
    }
    return !__builtin_mul_overflow(seconds, US_PER_S, &seconds) &&
           !__builtin_add_overflow(seconds, (int64_t)(nanos / 1000), ret_wall_us);
}

/* Returns false if the field has a type other than the contract's. */
static bool read_field(enum stream stream, const struct field *field, struct event *event) {
    int64_t *numbers[] = {[COUPON_ID] = &event->coupon_id, [USER_ID] = &event->user_id, [TICKET] = &event->ticket};
    const char *text = (const char *)field->bytes.at;
    size_t len = (size_t)(field->bytes.end - field->bytes.at);
    switch (field->number) {
    case COUPON_ID:
    case USER_ID:
    case TICKET:
        *numbers[field->number] = (int64_t)field->value;
        return field->type == VARINT;
    case REQUEST_ID:
        event->request_id = text;
        event->request_id_len = len;
        return field->type == BYTES;
    case ACCEPT_TIME:
        return field->type == BYTES && read_time(field->bytes, &event->accept_us);
    default:
        break;
    }
    if (stream == STREAM_PUBLISHED && field->number == ISSUE_TIME)
        return field->type == BYTES && read_time(field->bytes, &event->issue_us);
    if (field->number == traceparent_field[stream]) {
        event->traceparent = text;
        event->traceparent_len = len;
        return field->type == BYTES;
    }
    if (field->number == tracestate_field[stream]) {
        event->tracestate = text;
        event->tracestate_len = len;
        return field->type == BYTES;
    }
    return true;
}

bool event_read(enum stream stream, const void *bytes, size_t len, struct event *ret_event) {
    const uint8_t *at = bytes; /* NULL for a tombstone */
    struct reader reader = {at, len ? at + len : at};
    struct event event = {.request_id = "", .traceparent = "", .tracestate = ""};
    while (reader.at < reader.end) {
        struct field field = {0};
        if (!take_field(&reader, &field) || !read_field(stream, &field, &event))
            return false;
    }
    *ret_event = event;
    return true;
}

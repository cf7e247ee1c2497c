#include "flow/events.h"

#include "coupon/v1/events.pb-c.h"
#include "flow/answer.h"

/* Version 00 has 55 characters. */
#define TRACEPARENT_MAX 128

bool traceparent_is_fine(const char *value, size_t len) {
    if (len == 0 || len > TRACEPARENT_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (value[i] < ' ' || value[i] > '~')
            return false;
    return true;
}

static struct pg_bytes pack(struct arena *arena, const ProtobufCMessage *message) {
    struct pg_bytes bytes = {.len = protobuf_c_message_get_packed_size(message)};
    uint8_t *data = arena_alloc(arena, bytes.len);
    protobuf_c_message_pack(message, data);
    bytes.data = data;
    return bytes;
}

struct pg_bytes event_requested(struct arena *arena, int64_t coupon_id, int64_t user_id, const char *request_id,
                                int64_t ticket, int64_t accept_us) {
    Coupon__V1__PublishRequested event = COUPON__V1__PUBLISH_REQUESTED__INIT;
    Google__Protobuf__Timestamp accept_time;
    timestamp_init(&accept_time, accept_us);
    event.coupon_id = coupon_id;
    event.user_id = user_id;
    event.request_id = (char *)(uintptr_t)request_id; /* not written through */
    event.ticket = ticket;
    event.accept_time = &accept_time;
    return pack(arena, &event.base);
}

struct pg_bytes event_published(struct arena *arena, int64_t coupon_id, int64_t user_id, const char *request_id,
                                int64_t ticket, int64_t accept_us, int64_t issue_us) {
    Coupon__V1__Published event = COUPON__V1__PUBLISHED__INIT;
    Google__Protobuf__Timestamp accept_time, issue_time;
    timestamp_init(&accept_time, accept_us);
    timestamp_init(&issue_time, issue_us);
    event.coupon_id = coupon_id;
    event.user_id = user_id;
    event.request_id = (char *)(uintptr_t)request_id; /* not written through */
    event.ticket = ticket;
    event.accept_time = &accept_time;
    event.issue_time = &issue_time;
    return pack(arena, &event.base);
}

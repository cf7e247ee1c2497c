/* SPDX-License-Identifier: Apache-2.0 */
/* Compares the hand-written codec with the generated one: both write and read the same. */
#include "model/event.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "base/clock.h"
#include "coupon/v1/events.pb-c.h"
#include "random.h"

#define ROUNDS 20000

static int64_t number(struct random *random) {
    uint64_t high = (uint64_t)random_below(random, 1 << 30), low = (uint64_t)random_below(random, 1 << 30);
    return (int64_t)((high << 33 | low << 3) >> random_below(random, 63));
}

static const char *text(struct random *random, char *room, size_t max) {
    size_t len = (size_t)random_below(random, (int64_t)max + 1);
    for (size_t i = 0; i < len; i++)
        room[i] = (char)('!' + random_below(random, 90));
    room[len] = 0;
    return room;
}

static size_t pack_requested(const struct event *event, uint8_t *bytes) {
    Coupon__V1__PublishRequested message = COUPON__V1__PUBLISH_REQUESTED__INIT;
    Google__Protobuf__Timestamp accept_time;
    timestamp_init(&accept_time, event->accept_us);
    message.coupon_id = event->coupon_id;
    message.user_id = event->user_id;
    message.request_id = (char *)(uintptr_t)event->request_id;
    message.ticket = event->ticket;
    message.accept_time = &accept_time;
    message.traceparent = (char *)(uintptr_t)event->traceparent;
    message.tracestate = (char *)(uintptr_t)event->tracestate;
    return coupon__v1__publish_requested__pack(&message, bytes);
}

static size_t pack_published(const struct event *event, uint8_t *bytes) {
    Coupon__V1__Published message = COUPON__V1__PUBLISHED__INIT;
    Google__Protobuf__Timestamp accept_time, issue_time;
    timestamp_init(&accept_time, event->accept_us);
    timestamp_init(&issue_time, event->issue_us);
    message.coupon_id = event->coupon_id;
    message.user_id = event->user_id;
    message.request_id = (char *)(uintptr_t)event->request_id;
    message.ticket = event->ticket;
    message.accept_time = &accept_time;
    message.issue_time = &issue_time;
    message.traceparent = (char *)(uintptr_t)event->traceparent;
    message.tracestate = (char *)(uintptr_t)event->tracestate;
    return coupon__v1__published__pack(&message, bytes);
}

static void check_read(enum stream stream, const struct event *event, const uint8_t *bytes, size_t len) {
    struct event got;
    cr_assert(event_read(stream, bytes, len, &got));
    cr_assert_eq(got.coupon_id, event->coupon_id);
    cr_assert_eq(got.user_id, event->user_id);
    cr_assert_eq(got.ticket, event->ticket);
    cr_assert_eq(got.accept_us, event->accept_us);
    cr_assert_eq(got.request_id_len, event->request_id_len);
    cr_assert_eq(memcmp(got.request_id, event->request_id, got.request_id_len), 0);
    cr_assert_eq(got.issue_us, stream == STREAM_PUBLISHED ? event->issue_us : 0);
    cr_assert_eq(got.traceparent_len, event->traceparent_len);
    cr_assert_eq(memcmp(got.traceparent, event->traceparent, got.traceparent_len), 0);
    cr_assert_eq(got.tracestate_len, event->tracestate_len);
    cr_assert_eq(memcmp(got.tracestate, event->tracestate, got.tracestate_len), 0);
}

Test(events, are_written_and_read_as_the_generated_code_does) {
    struct random random = {42};
    for (int i = 0; i < ROUNDS; i++) {
        char id[REQUEST_ID_MAX + 1], trace[TRACEPARENT_MAX + 1], state[TRACESTATE_MAX + 1];
        struct event event = {
            .coupon_id = number(&random),
            .user_id = -number(&random),
            .ticket = number(&random),
            .request_id = text(&random, id, REQUEST_ID_MAX),
            .accept_us = number(&random) % (INT64_C(4000000000) * US_PER_S) * (i % 2 ? 1 : -1),
            .issue_us = number(&random) % (INT64_C(4000000000) * US_PER_S),
            .traceparent = text(&random, trace, i % 3 ? TRACEPARENT_MAX : 0),
            .tracestate = text(&random, state, i % 4 ? TRACESTATE_MAX : 0),
        };
        event.request_id_len = strlen(event.request_id);
        event.traceparent_len = strlen(event.traceparent);
        event.tracestate_len = strlen(event.tracestate);
        uint8_t mine[EVENT_MAX], theirs[2 * EVENT_MAX];
        for (int stream = 0; stream < STREAMS; stream++) {
            size_t len = event_write((enum stream)stream, &event, mine);
            cr_assert_leq(len, EVENT_MAX);
            cr_assert_eq(len,
                         stream == STREAM_REQUESTED ? pack_requested(&event, theirs) : pack_published(&event, theirs));
            cr_assert_eq(memcmp(mine, theirs, len), 0);
            check_read((enum stream)stream, &event, mine, len);
        }
    }
}

Test(events, that_are_broken_are_refused_when_the_generated_code_refuses_them_and_never_read_over) {
    struct random random = {7};
    const struct event event = {.coupon_id = 300,
                                .user_id = 7,
                                .ticket = 1,
                                .request_id = "abc",
                                .request_id_len = 3,
                                .accept_us = 1700000000123456};
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t bytes[EVENT_MAX];
        size_t len = event_write(STREAM_REQUESTED, &event, bytes);
        for (int change = 0; change < 3; change++)
            bytes[random_below(&random, (int64_t)len)] = (uint8_t)random_below(&random, 256);
        len = (size_t)random_below(&random, (int64_t)len + 1);
        /* A separate allocation, so that a sanitizer finds reads beyond its end. */
        uint8_t *exact = malloc(len + !len);
        memcpy(exact, bytes, len);
        struct event got;
        bool mine = event_read(STREAM_REQUESTED, exact, len, &got);
        Coupon__V1__PublishRequested *theirs = coupon__v1__publish_requested__unpack(NULL, len, exact);
        /* protobuf-c is less strict: it accepts varints of more than 64 bits and groups without an end. */
        cr_assert(!mine || theirs);
        if (mine) {
            cr_assert_eq(got.coupon_id, theirs->coupon_id);
            cr_assert_eq(got.user_id, theirs->user_id);
            cr_assert_eq(got.ticket, theirs->ticket);
        }
        if (theirs)
            coupon__v1__publish_requested__free_unpacked(theirs, NULL);
        free(exact);
    }
}

Test(events, with_fields_that_are_not_known_are_read) {
    static const uint8_t bytes[] = {0x08, 0x05, 0x78, 0x01, 0x7a, 0x02, 'h', 'i', 0x79, 1, 2,    3,
                                    4,    5,    6,    7,    8,    0x7d, 1,   2,   3,    4, 0x10, 0x07};
    struct event got;
    cr_assert(event_read(STREAM_REQUESTED, bytes, sizeof bytes, &got));
    cr_assert_eq(got.coupon_id, 5);
    cr_assert_eq(got.user_id, 7);
    cr_assert_eq(got.ticket, 0);
}

Test(events, have_contexts_that_are_printable_and_not_too_long) {
    char text[TRACESTATE_MAX + 1];
    memset(text, 'a', sizeof text);
    cr_expect(traceparent_is_fine(text, TRACEPARENT_MAX));
    cr_expect_not(traceparent_is_fine(text, TRACEPARENT_MAX + 1));
    cr_expect(tracestate_is_fine(text, TRACESTATE_MAX));
    cr_expect_not(tracestate_is_fine(text, TRACESTATE_MAX + 1));
    cr_expect_not(tracestate_is_fine(text, 0));
    text[5] = '\n';
    cr_expect_not(tracestate_is_fine(text, 10));
}

/* Which frames a client may send, and how many. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/internal.h"

#define PREFACE   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define BLOCK_MAX 1000

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
#define END_STREAM  0x1
#define END_HEADERS 0x4

static enum rpc_abuse feed(struct frames *frames, const void *bytes, size_t len, int64_t now_ms) {
    return frames_take(frames, bytes, len, BLOCK_MAX, now_ms);
}

static struct frames begin(void) {
    struct frames frames;
    frames_init(&frames);
    cr_assert_eq(feed(&frames, PREFACE, sizeof PREFACE - 1, 1), RPC_ABUSE_NONE);
    return frames;
}

/* A frame with `len` bytes of payload, into bytes; its whole length. */
static size_t put(uint8_t *bytes, int type, int flags, size_t len) {
    memset(bytes, 0, 9 + len);
    bytes[0] = (uint8_t)(len >> 16);
    bytes[1] = (uint8_t)(len >> 8);
    bytes[2] = (uint8_t)len;
    bytes[3] = (uint8_t)type;
    bytes[4] = (uint8_t)flags;
    bytes[8] = 1;
    return 9 + len;
}

static enum rpc_abuse send(struct frames *frames, int type, int flags, size_t len, int64_t now_ms) {
    uint8_t bytes[9 + 2 * BLOCK_MAX];
    return feed(frames, bytes, put(bytes, type, flags, len), now_ms);
}

/* How many of them pass, all in one moment, `most` at most. */
static int send_many(struct frames *frames, int type, int flags, size_t len, int most, enum rpc_abuse *ret) {
    int n = 0;
    while (n < most && (*ret = send(frames, type, flags, len, 1)) == RPC_ABUSE_NONE)
        n++;
    return n;
}

Test(frames, calls_and_their_messages_cost_nothing) {
    struct frames frames = begin();
    for (int i = 0; i < 100000; i++) {
        cr_assert_eq(send(&frames, HEADERS, END_HEADERS, 60, 1), RPC_ABUSE_NONE);
        cr_assert_eq(send(&frames, DATA, 0, 40, 1), RPC_ABUSE_NONE);
        cr_assert_eq(send(&frames, DATA, END_STREAM, 0, 1), RPC_ABUSE_NONE);
    }
}

Test(frames, a_header_block_may_take_several_frames_and_must_end) {
    struct frames frames = begin();
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(send(&frames, HEADERS, 0, 400, 1), RPC_ABUSE_NONE);
        cr_assert_eq(send(&frames, CONTINUATION, 0, 400, 1), RPC_ABUSE_NONE);
        cr_assert_eq(send(&frames, CONTINUATION, END_HEADERS, 200, 1), RPC_ABUSE_NONE);
    }
    cr_assert_eq(send(&frames, HEADERS, 0, 400, 1), RPC_ABUSE_NONE);
    cr_assert_eq(send(&frames, CONTINUATION, 0, 601, 1), RPC_ABUSE_HEADERS);

    frames = begin();
    enum rpc_abuse abuse;
    cr_assert_eq(send(&frames, HEADERS, 0, 0, 1), RPC_ABUSE_NONE);
    cr_assert_lt(send_many(&frames, CONTINUATION, 0, 0, 1000, &abuse), 1000, "not even of empty frames");
    cr_assert_eq(abuse, RPC_ABUSE_HEADERS);
}

Test(frames, ten_thousand_calls_may_be_cancelled_at_once_and_then_a_thousand_a_second) {
    struct frames frames = begin();
    enum rpc_abuse abuse;
    cr_assert_eq(send_many(&frames, RST_STREAM, 0, 4, 100000, &abuse), 10000);
    cr_assert_eq(abuse, RPC_ABUSE_RESETS);

    frames = begin();
    for (int64_t ms = 1; ms <= 60000; ms++)
        cr_assert_eq(send(&frames, RST_STREAM, 0, 4, ms), RPC_ABUSE_NONE);
    int64_t ms = 60001;
    while (ms < 120000 && send(&frames, RST_STREAM, 0, 4, ms) == RPC_ABUSE_NONE &&
           (abuse = send(&frames, RST_STREAM, 0, 4, ms)) == RPC_ABUSE_NONE)
        ms++;
    cr_assert_lt(ms, 75000, "two thousand a second are too many");
}

Test(frames, what_was_spent_comes_back_with_time_and_no_more_than_that) {
    struct frames frames = begin();
    enum rpc_abuse abuse;
    cr_assert_eq(send_many(&frames, RST_STREAM, 0, 4, 10000, &abuse), 10000);
    cr_assert_eq(send(&frames, HEADERS, END_HEADERS, 60, 86400000), RPC_ABUSE_NONE);
    cr_assert_eq(send(&frames, PING, 0, 8, 86400000), RPC_ABUSE_NONE);
    int more = 0;
    while (more < 100000 && send(&frames, RST_STREAM, 0, 4, 86400000) == RPC_ABUSE_NONE)
        more++;
    cr_assert_lt(more, 10001);
    cr_assert_gt(more, 9990);
}

Test(frames, floods_of_every_kind_are_told_by_name) {
    static const struct {
        int type, flags;
        size_t len;
        enum rpc_abuse abuse;
    } floods[] = {
        {PING, 0, 8, RPC_ABUSE_PINGS},       {SETTINGS, 0, 6, RPC_ABUSE_SETTINGS},     {DATA, 0, 0, RPC_ABUSE_USELESS},
        {PRIORITY, 0, 5, RPC_ABUSE_USELESS}, {WINDOW_UPDATE, 0, 4, RPC_ABUSE_USELESS}, {77, 0, 30, RPC_ABUSE_USELESS},
    };
    for (size_t i = 0; i < sizeof floods / sizeof *floods; i++) {
        struct frames frames = begin();
        enum rpc_abuse abuse = RPC_ABUSE_NONE;
        int n = send_many(&frames, floods[i].type, floods[i].flags, floods[i].len, 1000000, &abuse);
        cr_assert_eq(abuse, floods[i].abuse, "type %d: %s after %d", floods[i].type, rpc_abuse_name(abuse), n);
        cr_assert_gt(n, 1000, "type %d", floods[i].type);
    }
}

Test(frames, it_does_not_matter_how_the_bytes_are_cut) {
    static uint8_t bytes[40000 * 13 + 100];
    size_t len = sizeof PREFACE - 1, cut = 0;
    memcpy(bytes, PREFACE, len);
    for (int i = 0; i < 9999; i++)
        len += put(bytes + len, RST_STREAM, 0, 4);
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct frames frames;
        frames_init(&frames);
        srand(seed);
        for (size_t at = 0; at < len; at += cut) {
            cut = 1 + (size_t)rand() % (seed * 7);
            cut = cut < len - at ? cut : len - at;
            cr_assert_eq(feed(&frames, bytes + at, cut, 1), RPC_ABUSE_NONE, "seed %u at %zu", seed, at);
        }
        cr_assert_eq(send(&frames, RST_STREAM, 0, 4, 1), RPC_ABUSE_NONE, "the last that is allowed");
        cr_assert_eq(send(&frames, RST_STREAM, 0, 4, 1), RPC_ABUSE_RESETS);
    }
}

Test(frames, what_is_not_HTTP_2_is_left_to_the_core) {
    static const uint8_t noise[5000] = {0x16, 0x03, 0x01};
    struct frames frames;
    frames_init(&frames);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(feed(&frames, noise, sizeof noise, 1), RPC_ABUSE_NONE);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which frames a client may send, and how many. */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "edge/frames.h"

#define PREFACE        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define BLOCK_MAX      1000
#define MESSAGE_MAX    3000
#define UNFINISHED_MAX 100000
#define EARLY_MAX      256
#define NOW_MS         1000

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
#define END_STREAM  0x1
#define ACK         0x1
#define END_HEADERS 0x4

static struct frames_limits limits = {
    .block_bytes = BLOCK_MAX, .message_bytes = MESSAGE_MAX, .unfinished_bytes = UNFINISHED_MAX};

static enum edge_abuse feed(struct frames *frames, uint8_t *bytes, size_t len, int64_t now_ms) {
    return frames_take(frames, bytes, len, &limits, now_ms);
}

static enum edge_abuse feed_preface(struct frames *frames) {
    uint8_t preface[] = PREFACE;
    return feed(frames, preface, sizeof preface - 1, 1);
}

/* Writes a frame with `len` bytes of payload into bytes. Returns its whole length. */
static size_t put(uint8_t *bytes, int type, int flags, uint32_t stream, size_t len) {
    memset(bytes, 0, 9 + len);
    bytes[0] = (uint8_t)(len >> 16);
    bytes[1] = (uint8_t)(len >> 8);
    bytes[2] = (uint8_t)len;
    bytes[3] = (uint8_t)type;
    bytes[4] = (uint8_t)flags;
    for (int i = 0; i < 4; i++)
        bytes[5 + i] = (uint8_t)(stream >> (24 - 8 * i));
    return 9 + len;
}

static enum edge_abuse send_on(struct frames *frames, int type, int flags, uint32_t stream, size_t len,
                               int64_t now_ms) {
    uint8_t bytes[9 + 2 * BLOCK_MAX];
    return feed(frames, bytes, put(bytes, type, flags, stream, len), now_ms);
}

static enum edge_abuse send_one(struct frames *frames, int type, int flags, size_t len, int64_t now_ms) {
    return send_on(frames, type, flags, 1, len, now_ms);
}

/* Gives the connection a stream that is old at NOW_MS, and time to earn what its settings have cost. */
static struct frames begin(void) {
    struct frames frames;
    frames_init(&frames, 0);
    cr_assert_eq(feed_preface(&frames), EDGE_ABUSE_NONE);
    cr_assert_eq(send_on(&frames, SETTINGS, ACK, 0, 0, 1), EDGE_ABUSE_NONE);
    cr_assert_eq(send_on(&frames, HEADERS, END_HEADERS, 1, 60, 1), EDGE_ABUSE_NONE);
    return frames;
}

/* How many of these frames pass at one moment, of `most` at most. */
static int send_many(struct frames *frames, int type, int flags, size_t len, int most, enum edge_abuse *ret) {
    int n = 0;
    while (n < most && (*ret = send_one(frames, type, flags, len, NOW_MS)) == EDGE_ABUSE_NONE)
        n++;
    return n;
}

Test(frames, calls_and_their_messages_cost_nothing) {
    struct frames frames = begin();
    for (uint32_t i = 0; i < 100000; i++) {
        cr_assert_eq(send_on(&frames, HEADERS, END_HEADERS, 2 * i + 1, 60, 1), EDGE_ABUSE_NONE);
        cr_assert_eq(send_one(&frames, DATA, 0, 40, 1), EDGE_ABUSE_NONE);
        cr_assert_eq(send_one(&frames, DATA, END_STREAM, 0, 1), EDGE_ABUSE_NONE);
    }
}

Test(frames, a_header_block_may_take_several_frames_and_must_end) {
    struct frames frames = begin();
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(send_one(&frames, HEADERS, 0, 400, 1), EDGE_ABUSE_NONE);
        cr_assert_eq(send_one(&frames, CONTINUATION, 0, 400, 1), EDGE_ABUSE_NONE);
        cr_assert_eq(send_one(&frames, CONTINUATION, END_HEADERS, 200, 1), EDGE_ABUSE_NONE);
    }
    cr_assert_eq(send_one(&frames, HEADERS, 0, 400, 1), EDGE_ABUSE_NONE);
    cr_assert_eq(send_one(&frames, CONTINUATION, 0, 601, 1), EDGE_ABUSE_HEADERS);

    frames = begin();
    enum edge_abuse abuse;
    cr_assert_eq(send_one(&frames, HEADERS, 0, 0, 1), EDGE_ABUSE_NONE);
    cr_assert_lt(send_many(&frames, CONTINUATION, 0, 0, 1000, &abuse), 1000, "not even of empty frames");
    cr_assert_eq(abuse, EDGE_ABUSE_HEADERS);
}

Test(frames, ten_thousand_calls_may_be_cancelled_at_once_and_then_a_thousand_a_second) {
    struct frames frames = begin();
    enum edge_abuse abuse;
    cr_assert_eq(send_many(&frames, RST_STREAM, 0, 4, 100000, &abuse), 10000);
    cr_assert_eq(abuse, EDGE_ABUSE_RESETS);

    frames = begin();
    for (int64_t ms = NOW_MS; ms <= 60000; ms++)
        cr_assert_eq(send_one(&frames, RST_STREAM, 0, 4, ms), EDGE_ABUSE_NONE);
    int64_t ms = 60001;
    while (ms < 120000 && send_one(&frames, RST_STREAM, 0, 4, ms) == EDGE_ABUSE_NONE &&
           (abuse = send_one(&frames, RST_STREAM, 0, 4, ms)) == EDGE_ABUSE_NONE)
        ms++;
    cr_assert_lt(ms, 75000, "two thousand a second are too many");
}

/* Opens `of` streams at a time and resets `reset` of them after_ms later. Returns how many streams it opened until it
 * was cut off. */
static uint32_t open_and_reset(uint32_t of, uint32_t reset, int64_t after_ms) {
    struct frames frames = begin();
    int64_t now_ms = 1000;
    for (uint32_t first = 1; first < 400000; first += 2 * of) {
        for (uint32_t i = 0; i < of; i++)
            cr_assert_eq(send_on(&frames, HEADERS, END_HEADERS, first + 2 * i, 60, now_ms), EDGE_ABUSE_NONE);
        now_ms += after_ms;
        for (uint32_t i = 0; i < reset; i++)
            if (send_on(&frames, RST_STREAM, 0, first + 2 * i, 4, now_ms) != EDGE_ABUSE_NONE)
                return first / 2;
    }
    return UINT32_MAX;
}

Test(frames, streams_that_are_reset_as_soon_as_they_are_opened_are_too_many_unless_as_many_are_not) {
    uint32_t all_at_once = open_and_reset(1, 1, 0);
    cr_assert(all_at_once > 1000 && all_at_once < 2000, "%u", all_at_once);
    cr_assert_eq(open_and_reset(2, 1, 0), UINT32_MAX, "hedging");
}

Test(frames, streams_that_are_reset_when_a_deadline_passes_cost_little_up_to_five_thousand_a_second) {
    cr_assert_eq(open_and_reset(100, 100, 250), UINT32_MAX);
    cr_assert_eq(open_and_reset(400, 400, 80), UINT32_MAX);
    cr_assert_eq(open_and_reset(100, 100, 20), UINT32_MAX);
    cr_assert_gt(open_and_reset(9000, 9000, 80), 40000, "all calls of a busy client at once");
    uint32_t attack = open_and_reset(1000, 1000, 20); /* fifty thousand a second, each 20 ms old */
    cr_assert(attack > 50000 && attack < 60000, "%u", attack);
}

Test(frames, resets_that_have_piled_up_while_the_server_stood_still_count_as_deadlines) {
    limits.server_is_late = true;
    uint32_t all_at_once = open_and_reset(1, 1, 0);
    cr_assert(all_at_once >= 49999 && all_at_once < 51000, "%u", all_at_once);
}

Test(frames, pings_are_paid_for_by_what_the_server_sends) {
    struct frames frames = begin();
    for (int i = 0; i < 100000; i++) {
        frames_wrote(&frames);
        cr_assert_eq(send_one(&frames, PING, 0, 8, NOW_MS), EDGE_ABUSE_NONE);
    }
    enum edge_abuse abuse;
    cr_assert_lt(send_many(&frames, PING, 0, 8, 10000, &abuse), 1001);
    cr_assert_eq(abuse, EDGE_ABUSE_PINGS);
}

Test(frames, who_has_offended_may_do_less) {
    int before = INT_MAX;
    for (int offences = 0; offences < 3; offences++) {
        struct frames frames;
        enum edge_abuse abuse;
        frames_init(&frames, offences);
        cr_assert_eq(feed_preface(&frames), EDGE_ABUSE_NONE);
        int n = send_many(&frames, PING, 0, 8, 100000, &abuse);
        cr_assert_lt(n, before / 2);
        before = n;
    }
    cr_assert_gt(before, 50, "but not nothing");
}

Test(frames, streams_before_the_settings_are_acknowledged_are_limited) {
    struct frames frames;
    frames_init(&frames, 0);
    cr_assert_eq(feed_preface(&frames), EDGE_ABUSE_NONE);
    uint32_t n = 0;
    enum edge_abuse abuse = EDGE_ABUSE_NONE;
    while (n < 10000 && (abuse = send_on(&frames, HEADERS, END_HEADERS, 2 * n + 1, 60, 1)) == EDGE_ABUSE_NONE)
        n++;
    cr_assert_eq(abuse, EDGE_ABUSE_STREAMS);
    cr_assert_eq(n, EARLY_MAX);
}

Test(frames, what_was_spent_comes_back_with_time_and_no_more_than_that) {
    struct frames frames = begin();
    enum edge_abuse abuse;
    cr_assert_eq(send_many(&frames, RST_STREAM, 0, 4, 10000, &abuse), 10000);
    cr_assert_eq(send_one(&frames, HEADERS, END_HEADERS, 60, 86400000), EDGE_ABUSE_NONE);
    cr_assert_eq(send_one(&frames, PRIORITY, 0, 5, 86400000), EDGE_ABUSE_NONE);
    int more = 0;
    while (more < 100000 && send_one(&frames, RST_STREAM, 0, 4, 86400000) == EDGE_ABUSE_NONE)
        more++;
    cr_assert_lt(more, 10001);
    cr_assert_gt(more, 9990);
}

Test(frames, floods_of_every_kind_are_told_by_name) {
    static const struct {
        int type, flags;
        size_t len;
        enum edge_abuse abuse;
    } floods[] = {
        {PING, 0, 8, EDGE_ABUSE_PINGS},
        {SETTINGS, 0, 6, EDGE_ABUSE_SETTINGS},
        {DATA, 0, 0, EDGE_ABUSE_USELESS},
        {PRIORITY, 0, 5, EDGE_ABUSE_USELESS},
        {WINDOW_UPDATE, 0, 4, EDGE_ABUSE_USELESS},
        {77, 0, 30, EDGE_ABUSE_USELESS},
    };
    for (size_t i = 0; i < sizeof floods / sizeof *floods; i++) {
        struct frames frames = begin();
        enum edge_abuse abuse = EDGE_ABUSE_NONE;
        int n = send_many(&frames, floods[i].type, floods[i].flags, floods[i].len, 1000000, &abuse);
        cr_assert_eq(abuse, floods[i].abuse, "type %d: %s after %d", floods[i].type, edge_abuse_name(abuse), n);
        cr_assert_geq(n, 1000, "type %d", floods[i].type);
    }
}

Test(frames, it_does_not_matter_how_the_bytes_are_cut) {
    static uint8_t bytes[10000 * 17 + 100];
    size_t len = sizeof PREFACE - 1, cut = 0;
    memcpy(bytes, PREFACE, len);
    for (int i = 0; i < 9999; i++)
        len += put(bytes + len, 77, 0, 0, 8);
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct frames frames;
        frames_init(&frames, 0);
        srand(seed);
        for (size_t at = 0; at < len; at += cut) {
            cut = 1 + (size_t)rand() % (seed * 7);
            cut = cut < len - at ? cut : len - at;
            cr_assert_eq(feed(&frames, bytes + at, cut, 1), EDGE_ABUSE_NONE, "seed %u at %zu", seed, at);
        }
        cr_assert_eq(send_one(&frames, 77, 0, 8, 1), EDGE_ABUSE_NONE, "the last that is allowed");
        cr_assert_eq(send_one(&frames, 77, 0, 8, 1), EDGE_ABUSE_USELESS);
    }
}

Test(frames, what_is_not_HTTP_2_is_left_to_the_core) {
    static uint8_t noise[5000] = {0x16, 0x03, 0x01};
    struct frames frames;
    frames_init(&frames, 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(feed(&frames, noise, sizeof noise, 1), EDGE_ABUSE_NONE);
}

/* --- messages --- */

/* Feeds a DATA frame with a message's prefix and `n` zeros of its bytes. */
static enum edge_abuse send_message(struct frames *frames, int flags, uint32_t stream, uint32_t len, size_t n) {
    uint8_t bytes[9 + 5 + 2 * MESSAGE_MAX];
    size_t size = put(bytes, DATA, flags, stream, 5 + n);
    for (int i = 0; i < 4; i++)
        bytes[10 + i] = (uint8_t)(len >> (24 - 8 * i));
    return feed(frames, bytes, size, NOW_MS);
}

Test(frames, of_a_message_that_is_too_large_the_core_is_told_that_it_has_one_byte_too_many) {
    static const uint8_t lengths[][4] = {
        {0, 0, 0x0b, 0xb8}, {0, 0, 0x0b, 0xb9}, {5, 0xf5, 0xe1, 0}, {255, 255, 255, 255}};
    static const uint8_t told[][4] = {{0, 0, 0x0b, 0xb8}, {0, 0, 0x0b, 0xb9}, {0, 0, 0x0b, 0xb9}, {0, 0, 0x0b, 0xb9}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct frames frames = begin();
        uint8_t bytes[9 + 5 + 10];
        size_t size = put(bytes, DATA, 0, 1, 15);
        memcpy(bytes + 10, lengths[i], 4);
        cr_assert_eq(feed(&frames, bytes, size, NOW_MS), EDGE_ABUSE_NONE);
        cr_assert_arr_eq(bytes + 10, told[i], 4);
        for (int n = 0; n < 1000; n++)
            cr_assert_eq(send_one(&frames, DATA, 0, 2000, NOW_MS), EDGE_ABUSE_NONE,
                         "what follows is part of it or not kept");
        cr_assert_leq(frames.unfinished, MESSAGE_MAX + 1);
        frames_deinit(&frames);
    }
}

Test(frames, a_length_that_comes_in_pieces_may_be_changed_while_it_is_not_yet_told) {
    static const struct {
        uint8_t length[4];
        size_t cut; /* bytes of the prefix in an earlier frame */
        enum edge_abuse abuse;
    } cases[] = {
        {{5, 0xf5, 0xe1, 0}, 0, EDGE_ABUSE_NONE}, {{5, 0xf5, 0xe1, 0}, 1, EDGE_ABUSE_MESSAGES},
        {{0, 0xf5, 0xe1, 0}, 1, EDGE_ABUSE_NONE}, {{0, 0xf5, 0xe1, 0}, 3, EDGE_ABUSE_MESSAGES},
        {{0, 0, 0x0b, 0xff}, 3, EDGE_ABUSE_NONE}, {{0, 0, 0x0c, 0xff}, 3, EDGE_ABUSE_MESSAGES},
        {{0, 0, 0x0a, 0xff}, 3, EDGE_ABUSE_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct frames frames = begin();
        uint8_t bytes[9 + 5];
        put(bytes, DATA, 0, 1, 5);
        memcpy(bytes + 10, cases[i].length, 4);
        cr_assert_eq(feed(&frames, bytes, 10 + cases[i].cut, NOW_MS), EDGE_ABUSE_NONE);
        cr_assert_eq(feed(&frames, bytes + 10 + cases[i].cut, 4 - cases[i].cut, NOW_MS), cases[i].abuse, "case %zu", i);
        frames_deinit(&frames);
    }
}

Test(frames, a_message_is_counted_until_it_is_complete_or_its_stream_ends) {
    struct frames frames = begin();
    cr_assert_eq(send_message(&frames, 0, 1, 2000, 1500), EDGE_ABUSE_NONE);
    cr_assert_eq(send_message(&frames, 0, 3, 2000, 400), EDGE_ABUSE_NONE);
    cr_assert_eq(send_message(&frames, 0, 5, 2000, 100), EDGE_ABUSE_NONE);
    cr_assert_eq(send_message(&frames, END_STREAM, 7, 2000, 100), EDGE_ABUSE_NONE);
    cr_assert_eq(frames.unfinished, 2000);
    cr_assert_eq(send_on(&frames, DATA, 0, 1, 500, NOW_MS), EDGE_ABUSE_NONE);
    cr_assert_eq(frames.unfinished, 500);
    cr_assert_eq(send_on(&frames, RST_STREAM, 0, 3, 4, NOW_MS), EDGE_ABUSE_NONE);
    cr_assert_eq(frames.unfinished, 100);
    cr_assert_eq(send_on(&frames, DATA, END_STREAM, 5, 0, NOW_MS), EDGE_ABUSE_NONE);
    cr_assert_eq(frames.unfinished, 0);
    cr_assert_eq(frames.n_uploads, 0);
    frames_deinit(&frames);
}

Test(frames, messages_that_never_become_complete_are_limited_by_bytes_and_by_number) {
    static const struct {
        size_t len;
        int most;
    } cases[] = {{1000, UNFINISHED_MAX / 1000}, {0, 1024}};
    for (size_t i = 0; i < 2; i++) {
        struct frames frames = begin();
        enum edge_abuse abuse = EDGE_ABUSE_NONE;
        int n = -1;
        for (uint32_t stream = 1; abuse == EDGE_ABUSE_NONE; stream += 2, n++)
            abuse = send_message(&frames, 0, stream, 2000, cases[i].len);
        cr_assert_eq(abuse, EDGE_ABUSE_MESSAGES);
        cr_assert_eq(n, cases[i].most);
        frames_deinit(&frames);
    }
}

Test(frames, any_number_of_messages_may_come_in_pieces_of_pieces) {
    static uint8_t bytes[400000];
    for (unsigned seed = 1; seed <= 20; seed++) {
        srand(seed);
        struct frames frames = begin();
        /* Sends messages on several streams, one after another, in frames of any length. */
        uint8_t message[5 + 100] = {0, 0, 0, 0, 100};
        size_t sent[20] = {0}, len = 0, whole = 30 * sizeof message;
        for (uint32_t left = 20; left > 0 && len + 300 < sizeof bytes;) {
            uint32_t stream = (uint32_t)rand() % 20;
            size_t n = (size_t)rand() % 250;
            n = n < whole - sent[stream] ? n : whole - sent[stream];
            if (sent[stream] == whole || n == 0)
                continue;
            size_t end = len + put(bytes + len, DATA, 0, 2 * stream + 1, n);
            for (len += 9; len < end; len++)
                bytes[len] = message[sent[stream]++ % sizeof message];
            left -= sent[stream] == whole;
        }
        for (size_t at = 0, cut; at < len; at += cut) {
            cut = 1 + (size_t)rand() % (seed * 20);
            cut = cut < len - at ? cut : len - at;
            cr_assert_eq(feed(&frames, bytes + at, cut, NOW_MS), EDGE_ABUSE_NONE, "seed %u at %zu", seed, at);
        }
        cr_assert_eq(frames.unfinished, 0, "seed %u", seed);
        cr_assert_eq(frames.n_uploads, 0, "seed %u", seed);
        frames_deinit(&frames);
    }
}

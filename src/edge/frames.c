/* SPDX-License-Identifier: Apache-2.0 */
/* Counts the HTTP/2 frames that a client sends and the messages in them, and finds those that only cost the server.
 *
 * gRPC's core (seen with 1.51.1) answers, buffers or parses everything without asking whether it leads anywhere:
 * streams that are reset as soon as they are opened (CVE-2023-44487), header blocks that never end (CVE-2023-33953),
 * SETTINGS and PINGs, empty frames. A client may send each of them now and then. So each has a price, which the
 * connection pays from a purse that fills with time. A connection that has spent all of it is cut off. The purse starts
 * full, and holds enough for a client that cancels all of its calls at once.
 *
 * The core keeps all bytes of a message until it is complete, and only then finds it too large. So this file reads the
 * length that a message begins with. Where it is too large, the length is changed to one byte more than the limit, and
 * the core refuses the message after that much. The bytes that the core keeps of other messages are counted.
 *
 * Bytes in, a verdict out; no clock, no sockets. One thread at a time per connection. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "edge/frames.h"
#include "edge/http2.h"

/* What a frame costs, and what a client earns.
 *
 * - A client that reads a fast stream sends many window updates, and some clients a ping for each message or round
 *   trip. So a write of the server pays for a ping.
 * - A stream that is reset within QUICK_MS of its opening has cost the server a call, and the client nothing. Opening
 *   streams earns enough to reset three of five at once, as clients that hedge do. More is an attack.
 * - A stream that is reset within EARLY_MS may have had a short deadline that the server has missed. Such resets have a
 *   number that grows with time, and cost no more than later ones.
 * - After the server has stood still, it reads all at once what a client has sent meanwhile. So for a while each quick
 *   reset counts as an early one. */
#define PRICE_WINDOW_UPDATE 1
#define PRICE_USELESS       20 /* a later reset; priorities, empty DATA frames, frames that the core does not know */
#define PRICE_PING          200
#define PRICE_SETTINGS      100
#define PRICE_QUICK_RESET   400
#define INCOME_PER_OPEN     240
#define INCOME_PER_MS       20
#define PURSE_MAX           (10000 * PRICE_USELESS)
#define FREE_PINGS_MAX      1000
#define QUICK_MS            10
#define EARLY_MS            100
#define EARLY_MAX           50000
#define EARLY_PER_MS        5
/* Streams opened before the client has acknowledged the server's settings. Until then the core enforces no limit on
 * streams. Clients of gRPC wait for the settings. */
#define EARLY_STREAMS_MAX 256

/* Frames of one header block. */
#define BLOCK_FRAMES_MAX 64

/* Messages of one connection that have come in part. When all slots are in use, one is taken from a message of which
 * nothing has come for UPLOAD_OLD_MS: its call has most likely ended early. Its bytes still count, since it may not
 * have. */
#define UPLOADS_MAX   1024
#define UPLOAD_OLD_MS 10000

void frames_init(struct frames *frames, int offences) {
    *frames = (struct frames){.preface_left = PREFACE_LEN, .purse = PURSE_MAX >> (2 * offences)};
}

void frames_deinit(struct frames *frames) {
    free(frames->uploads);
    frames->uploads = NULL;
    frames->n_uploads = frames->uploads_capacity = 0;
    frames->unfinished = 0;
}

void frames_wrote(struct frames *frames) {
    atomic_fetch_add_explicit(&frames->n_writes, 1, memory_order_relaxed);
}

static void earn(struct frames *frames, int64_t income) {
    frames->purse = income > PURSE_MAX - frames->purse ? PURSE_MAX : frames->purse + (int)income;
}

static bool pay(struct frames *frames, int price, int64_t now_ms) {
    if (frames->paid_ms != 0 && now_ms > frames->paid_ms)
        earn(frames, (now_ms - frames->paid_ms) * INCOME_PER_MS);
    frames->paid_ms = now_ms;
    frames->purse -= price;
    return frames->purse >= 0;
}

static bool is_free_ping(struct frames *frames) {
    frames->free_pings += atomic_exchange_explicit(&frames->n_writes, 0, memory_order_relaxed);
    if (frames->free_pings > FREE_PINGS_MAX)
        frames->free_pings = FREE_PINGS_MAX;
    return frames->free_pings > 0 && frames->free_pings-- > 0;
}

/* Streams are numbered as they are opened, so two numbers tell which streams are old. A stream counts as old from
 * age_ms to 2 * age_ms after its opening. */
static void tell_old_streams(struct frames_age *age, uint32_t newest, int64_t age_ms, int64_t now_ms) {
    if (now_ms - age->window_ms < age_ms)
        return;
    age->old_stream = now_ms - age->window_ms < 2 * age_ms ? age->window_stream : newest;
    age->window_stream = newest;
    age->window_ms = now_ms;
}

static void tell_ages(struct frames *frames, int64_t now_ms) {
    tell_old_streams(&frames->quick, frames->stream, QUICK_MS, now_ms);
    tell_old_streams(&frames->early, frames->stream, EARLY_MS, now_ms);
}

/* Counts an early reset. False: there were too many. */
static bool count_early(struct frames *frames, int64_t now_ms) {
    int64_t fewer = (now_ms - frames->early_ms) * EARLY_PER_MS;
    frames->n_early_resets = fewer < frames->n_early_resets ? frames->n_early_resets - (int)fewer : 0;
    frames->early_ms = now_ms;
    return ++frames->n_early_resets <= EARLY_MAX;
}

/* A stream is reset. Returns the price, or -1 if there were too many. */
static int price_of_reset(struct frames *frames, uint32_t stream, bool server_is_late, int64_t now_ms) {
    if (stream <= frames->early.old_stream)
        return PRICE_USELESS;
    if (stream > frames->quick.old_stream && !server_is_late)
        return PRICE_QUICK_RESET;
    return count_early(frames, now_ms) ? PRICE_USELESS : -1;
}

static enum edge_abuse judge_opening(struct frames *frames, uint32_t stream, int64_t now_ms) {
    tell_ages(frames, now_ms);
    if (stream <= frames->stream)
        return EDGE_ABUSE_NONE;
    frames->stream = stream;
    earn(frames, INCOME_PER_OPEN);
    return frames->has_settings || ++frames->n_early <= EARLY_STREAMS_MAX ? EDGE_ABUSE_NONE : EDGE_ABUSE_STREAMS;
}

static enum edge_abuse judge_block(struct frames *frames, size_t len, bool is_last, size_t block_max) {
    frames->block_bytes += (uint32_t)len;
    frames->block_frames++;
    if (frames->block_bytes > block_max || frames->block_frames > BLOCK_FRAMES_MAX)
        return EDGE_ABUSE_HEADERS;
    if (is_last)
        frames->block_bytes = frames->block_frames = 0;
    return EDGE_ABUSE_NONE;
}

/* --- messages --- */

/* Takes the message of a stream out of those that wait; an empty one if there is none. */
static struct upload take_upload(struct frames *frames, uint32_t stream) {
    for (uint32_t i = frames->n_uploads; i-- > 0;) {
        struct upload found = frames->uploads[i];
        if (found.stream == stream) {
            frames->uploads[i] = frames->uploads[--frames->n_uploads];
            return found;
        }
    }
    return (struct upload){.stream = stream};
}

static void drop_upload(struct frames *frames, const struct upload *upload) {
    frames->unfinished -= upload->taken;
}

/* A slot for a message that waits; NULL: all are in use. */
static struct upload *slot_for_upload(struct frames *frames, uint32_t now_ms) {
    if (frames->n_uploads < frames->uploads_capacity)
        return &frames->uploads[frames->n_uploads++];
    if (frames->uploads_capacity < UPLOADS_MAX) {
        uint32_t capacity = frames->uploads_capacity ? 2 * frames->uploads_capacity : 4;
        frames->uploads = memory_resize(frames->uploads, capacity, sizeof *frames->uploads);
        frames->uploads_capacity = capacity;
        return &frames->uploads[frames->n_uploads++];
    }
    for (uint32_t i = 0; i < frames->n_uploads; i++) {
        if (now_ms - frames->uploads[i].touched_ms > UPLOAD_OLD_MS)
            return &frames->uploads[i];
    }
    return NULL;
}

/* The prefix has become complete; its last bytes, n_here of them, are those before `end`. Changes the length of a
 * message that is too large. False: the core already has a part of the length that would have to change. */
static bool shorten(struct upload *upload, uint8_t *end, size_t n_here, size_t message_max) {
    upload->left = get_u32(upload->prefix + 1);
    if (upload->left <= message_max)
        return true;
    uint8_t told[4];
    put_u32(told, (uint32_t)message_max + 1);
    size_t n_before = n_here < sizeof told ? sizeof told - n_here : 0;
    if (memcmp(told, upload->prefix + 1, n_before) != 0)
        return false;
    memcpy(end - (sizeof told - n_before), told + n_before, sizeof told - n_before);
    return true;
}

/* Counts the bytes that the core keeps of a message, which are no more than the length that it was told. */
static void count_taken(struct frames *frames, size_t n, size_t message_max) {
    struct upload *upload = &frames->current;
    size_t room = message_max + 1 > upload->taken ? message_max + 1 - upload->taken : 0;
    n = n < room ? n : room;
    upload->taken += (uint32_t)n;
    frames->unfinished += (int64_t)n;
}

static void end_message(struct frames *frames) {
    drop_upload(frames, &frames->current);
    frames->current = (struct upload){.stream = frames->current.stream};
}

/* The next bytes of the current DATA frame. */
static enum edge_abuse take_data(struct frames *frames, uint8_t *bytes, size_t len,
                                 const struct frames_limits *limits) {
    struct upload *upload = &frames->current;
    for (size_t at = 0; at < len;) {
        size_t n = len - at;
        if (upload->prefix_len < PREFIX_LEN) {
            size_t missing = PREFIX_LEN - upload->prefix_len;
            n = n < missing ? n : missing;
            memcpy(upload->prefix + upload->prefix_len, bytes + at, n);
            upload->prefix_len += (uint8_t)n;
            at += n;
            if (upload->prefix_len == PREFIX_LEN && !shorten(upload, bytes + at, n, limits->message_bytes))
                return EDGE_ABUSE_MESSAGES;
        } else {
            n = n < upload->left ? n : upload->left;
            upload->left -= (uint32_t)n;
            at += n;
            count_taken(frames, n, limits->message_bytes);
        }
        if (upload->prefix_len == PREFIX_LEN && upload->left == 0)
            end_message(frames);
    }
    return frames->unfinished > limits->unfinished_bytes ? EDGE_ABUSE_MESSAGES : EDGE_ABUSE_NONE;
}

/* The current DATA frame ends. */
static enum edge_abuse end_data(struct frames *frames, int64_t now_ms) {
    struct upload *upload = &frames->current;
    if (frames->header[FLAGS_AT] & FLAG_END_STREAM) {
        drop_upload(frames, upload);
    } else if (upload->prefix_len > 0) {
        struct upload *slot = slot_for_upload(frames, (uint32_t)now_ms);
        if (!slot)
            return EDGE_ABUSE_MESSAGES;
        *slot = *upload;
        slot->touched_ms = (uint32_t)now_ms;
    }
    return EDGE_ABUSE_NONE;
}

/* --- frames --- */

/* A frame's header is complete. */
static enum edge_abuse judge(struct frames *frames, const struct frames_limits *limits, int64_t now_ms) {
    const uint8_t *header = frames->header;
    uint32_t len = get_u32(header) >> 8, stream = get_u32(header + STREAM_AT) & 0x7fffffff;
    int type = header[TYPE_AT], flags = header[FLAGS_AT], price = PRICE_USELESS;
    enum edge_abuse abuse = EDGE_ABUSE_USELESS;
    frames->payload_left = len;
    switch (type) {
    case TYPE_HEADERS:
        abuse = judge_opening(frames, stream, now_ms);
        return abuse == EDGE_ABUSE_NONE ? judge_block(frames, len, flags & FLAG_END_HEADERS, limits->block_bytes)
                                        : abuse;
    case TYPE_CONTINUATION:
        return judge_block(frames, len, flags & FLAG_END_HEADERS, limits->block_bytes);
    case TYPE_DATA:
        frames->current = take_upload(frames, stream);
        if (len > 0 || (flags & FLAG_END_STREAM))
            return EDGE_ABUSE_NONE;
        break;
    case TYPE_RST_STREAM:
        tell_ages(frames, now_ms);
        frames->current = take_upload(frames, stream);
        drop_upload(frames, &frames->current);
        price = price_of_reset(frames, stream, limits->server_is_late, now_ms);
        abuse = EDGE_ABUSE_RESETS;
        if (price < 0)
            return abuse;
        break;
    case TYPE_PING:
        price = is_free_ping(frames) ? 0 : PRICE_PING;
        abuse = EDGE_ABUSE_PINGS;
        break;
    case TYPE_SETTINGS:
        frames->has_settings |= (flags & FLAG_ACK) != 0;
        price = PRICE_SETTINGS;
        abuse = EDGE_ABUSE_SETTINGS;
        break;
    case TYPE_WINDOW_UPDATE:
        price = PRICE_WINDOW_UPDATE;
        break;
    case TYPE_GOAWAY:
        return EDGE_ABUSE_NONE;
    default:
        break;
    }
    return pay(frames, price, now_ms) ? EDGE_ABUSE_NONE : abuse;
}

/* The core itself refuses connections that do not begin with HTTP/2's preface. With TLS, the encrypted bytes come here
 * as well. */
static size_t take_preface(struct frames *frames, const uint8_t *bytes, size_t len) {
    size_t n = len < frames->preface_left ? len : frames->preface_left;
    if (memcmp(bytes, PREFACE + PREFACE_LEN - frames->preface_left, n) != 0)
        frames->is_other = true;
    frames->preface_left -= (uint32_t)n;
    return n;
}

/* Bytes of the current frame's payload. */
static enum edge_abuse take_payload(struct frames *frames, uint8_t *bytes, size_t len,
                                    const struct frames_limits *limits) {
    frames->payload_left -= (uint32_t)len;
    return frames->header[TYPE_AT] == TYPE_DATA ? take_data(frames, bytes, len, limits) : EDGE_ABUSE_NONE;
}

static enum edge_abuse take_header(struct frames *frames, const uint8_t *bytes, size_t len,
                                   const struct frames_limits *limits, int64_t now_ms) {
    memcpy(frames->header + frames->header_len, bytes, len);
    frames->header_len += (uint32_t)len;
    if (frames->header_len < HEADER_LEN)
        return EDGE_ABUSE_NONE;
    return judge(frames, limits, now_ms);
}

enum edge_abuse frames_take(struct frames *frames, uint8_t *bytes, size_t len, const struct frames_limits *limits,
                            int64_t now_ms) {
    size_t at = frames->preface_left > 0 ? take_preface(frames, bytes, len) : 0;
    enum edge_abuse abuse = EDGE_ABUSE_NONE;
    while (at < len && !frames->is_other && abuse == EDGE_ABUSE_NONE) {
        bool in_header = frames->header_len < HEADER_LEN;
        size_t n = in_header ? HEADER_LEN - frames->header_len : frames->payload_left;
        n = len - at < n ? len - at : n;
        abuse = in_header ? take_header(frames, bytes + at, n, limits, now_ms)
                          : take_payload(frames, bytes + at, n, limits);
        at += n;
        if (frames->header_len < HEADER_LEN || frames->payload_left > 0 || abuse != EDGE_ABUSE_NONE)
            continue;
        if (frames->header[TYPE_AT] == TYPE_DATA)
            abuse = end_data(frames, now_ms);
        frames->header_len = 0;
    }
    return abuse;
}

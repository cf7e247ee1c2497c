/* Keeps count of the HTTP/2 frames that a client sends, and finds those that only cost.
 *
 * gRPC's core (seen with 1.51.1) answers, buffers or parses what comes without asking whether it leads anywhere:
 * streams that are reset as soon as they are opened (CVE-2023-44487), header blocks that never end (CVE-2023-33953),
 * SETTINGS and PINGs, frames that are empty. Each is allowed, now and then. So each has a price, which a connection
 * pays from a purse that fills with time; who has spent all of it is cut off. The purse starts full, and holds enough
 * for a client that cancels all of its calls at once.
 *
 * Pure: bytes in, a verdict out. One thread at a time per connection. */
#include <string.h>

#include "rpc/internal.h"

#define PREFACE_LEN 24 /* "PRI * HTTP/2.0..." */

enum {
    TYPE_DATA,
    TYPE_HEADERS,
    TYPE_PRIORITY,
    TYPE_RST_STREAM,
    TYPE_SETTINGS,
    TYPE_PUSH_PROMISE,
    TYPE_PING,
    TYPE_GOAWAY,
    TYPE_WINDOW_UPDATE,
    TYPE_CONTINUATION,
};
#define FLAG_END_STREAM  0x1
#define FLAG_ACK         0x1
#define FLAG_END_HEADERS 0x4

/* What a frame costs, and what is earned. A client that reads a fast stream sends window updates, and some a ping for
 * each message or round trip: so a ping is paid for by what the server sends. A stream that is reset within QUICK_MS of
 * its opening has cost us all and the client nothing: unless less than three of five are, as with clients that hedge,
 * that is an attack. */
#define PRICE_WINDOW_UPDATE 1
#define PRICE_USELESS       20 /* a reset; priorities, empty data, what the core doesn't know */
#define PRICE_PING          100
#define PRICE_SETTINGS      100
#define PRICE_QUICK_RESET   400
#define INCOME_PER_WRITE    100
#define INCOME_PER_OPEN     240
#define INCOME_PER_MS       20
#define PURSE_MAX           (10000 * PRICE_USELESS)
#define QUICK_MS            100
/* Opened before the server's settings are acknowledged, until which the core keeps to no limit. Clients of gRPC wait
 * for them. */
#define EARLY_STREAMS_MAX 1000

/* Frames of one header block. */
#define BLOCK_FRAMES_MAX 64

void frames_init(struct frames *frames, int offences) {
    *frames = (struct frames){.preface_left = PREFACE_LEN, .purse = PURSE_MAX >> (2 * offences)};
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
    earn(frames, (int64_t)INCOME_PER_WRITE * atomic_exchange_explicit(&frames->n_writes, 0, memory_order_relaxed));
    frames->purse -= price;
    return frames->purse >= 0;
}

/* Streams are numbered as they are opened, so two numbers tell which are older than QUICK_MS (and less than twice
 * that).
 */
static void tell_old_streams(struct frames *frames, int64_t now_ms) {
    if (now_ms - frames->window_ms < QUICK_MS)
        return;
    frames->old_stream = now_ms - frames->window_ms < 2 * (int64_t)QUICK_MS ? frames->window_stream : frames->stream;
    frames->window_stream = frames->stream;
    frames->window_ms = now_ms;
}

static enum rpc_abuse judge_opening(struct frames *frames, uint32_t stream, int64_t now_ms) {
    tell_old_streams(frames, now_ms);
    if (stream <= frames->stream)
        return RPC_ABUSE_NONE;
    frames->stream = stream;
    earn(frames, INCOME_PER_OPEN);
    return frames->has_settings || ++frames->n_early <= EARLY_STREAMS_MAX ? RPC_ABUSE_NONE : RPC_ABUSE_STREAMS;
}

static enum rpc_abuse judge_block(struct frames *frames, size_t len, bool is_last, size_t block_max) {
    frames->block_bytes += (uint32_t)len;
    frames->block_frames++;
    if (frames->block_bytes > block_max || frames->block_frames > BLOCK_FRAMES_MAX)
        return RPC_ABUSE_HEADERS;
    if (is_last)
        frames->block_bytes = frames->block_frames = 0;
    return RPC_ABUSE_NONE;
}

/* A frame's header is complete. */
static enum rpc_abuse judge(struct frames *frames, size_t block_max, int64_t now_ms) {
    const uint8_t *header = frames->header;
    uint32_t len = (uint32_t)header[0] << 16 | (uint32_t)header[1] << 8 | header[2];
    uint32_t stream =
        (uint32_t)(header[5] & 0x7f) << 24 | (uint32_t)header[6] << 16 | (uint32_t)header[7] << 8 | header[8];
    int type = header[3], flags = header[4], price = PRICE_USELESS;
    enum rpc_abuse abuse = RPC_ABUSE_USELESS;
    frames->payload_left = len;
    switch (type) {
    case TYPE_HEADERS:
        abuse = judge_opening(frames, stream, now_ms);
        return abuse == RPC_ABUSE_NONE ? judge_block(frames, len, flags & FLAG_END_HEADERS, block_max) : abuse;
    case TYPE_CONTINUATION:
        return judge_block(frames, len, flags & FLAG_END_HEADERS, block_max);
    case TYPE_DATA:
        if (len > 0 || (flags & FLAG_END_STREAM))
            return RPC_ABUSE_NONE;
        break;
    case TYPE_RST_STREAM:
        tell_old_streams(frames, now_ms);
        price = stream > frames->old_stream ? PRICE_QUICK_RESET : PRICE_USELESS;
        abuse = RPC_ABUSE_RESETS;
        break;
    case TYPE_PING:
        price = PRICE_PING;
        abuse = RPC_ABUSE_PINGS;
        break;
    case TYPE_SETTINGS:
        frames->has_settings |= (flags & FLAG_ACK) != 0;
        price = PRICE_SETTINGS;
        abuse = RPC_ABUSE_SETTINGS;
        break;
    case TYPE_WINDOW_UPDATE:
        price = PRICE_WINDOW_UPDATE;
        break;
    case TYPE_GOAWAY:
        return RPC_ABUSE_NONE;
    default:
        break;
    }
    return pay(frames, price, now_ms) ? RPC_ABUSE_NONE : abuse;
}

/* The core itself refuses what doesn't begin as HTTP/2 does: TLS comes here as well, still encrypted. */
static size_t take_preface(struct frames *frames, const uint8_t *bytes, size_t len) {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    size_t n = len < frames->preface_left ? len : frames->preface_left;
    if (memcmp(bytes, preface + PREFACE_LEN - frames->preface_left, n) != 0)
        frames->is_other = true;
    frames->preface_left -= (uint32_t)n;
    return n;
}

enum rpc_abuse frames_take(struct frames *frames, const uint8_t *bytes, size_t len, size_t block_max, int64_t now_ms) {
    size_t at = frames->preface_left > 0 ? take_preface(frames, bytes, len) : 0;
    while (at < len && !frames->is_other) {
        size_t left = len - at;
        if (frames->payload_left > 0) {
            size_t n = left < frames->payload_left ? left : frames->payload_left;
            frames->payload_left -= (uint32_t)n;
            at += n;
            continue;
        }
        size_t n = sizeof frames->header - frames->header_len;
        n = left < n ? left : n;
        memcpy(frames->header + frames->header_len, bytes + at, n);
        frames->header_len += (uint32_t)n;
        at += n;
        if (frames->header_len < sizeof frames->header)
            break;
        frames->header_len = 0;
        enum rpc_abuse abuse = judge(frames, block_max, now_ms);
        if (abuse != RPC_ABUSE_NONE)
            return abuse;
    }
    return RPC_ABUSE_NONE;
}

const char *rpc_abuse_name(enum rpc_abuse abuse) {
    static const char *const names[RPC_ABUSES] = {"none",  "endless_headers", "streams", "resets",
                                                  "pings", "settings",        "useless", "offender"};
    return names[abuse];
}

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
#define FLAG_END_HEADERS 0x4

/* What a frame costs. A client that reads a fast stream sends a window update for each few messages, and gRPC's clients
 * a ping for each round trip then. */
#define PRICE_WINDOW_UPDATE 1
#define PRICE_PING          4
#define PRICE_USELESS       20 /* a reset; priorities, empty data, what the core doesn't know */
#define PRICE_SETTINGS      100
#define INCOME_PER_MS       20
#define PURSE_MAX           (10000 * PRICE_USELESS)

/* Frames of one header block. */
#define BLOCK_FRAMES_MAX 64

void frames_init(struct frames *frames) {
    *frames = (struct frames){.preface_left = PREFACE_LEN, .purse = PURSE_MAX};
}

static bool pay(struct frames *frames, int price, int64_t now_ms) {
    if (frames->paid_ms != 0 && now_ms > frames->paid_ms) {
        int64_t income = (now_ms - frames->paid_ms) * INCOME_PER_MS;
        frames->purse = income > PURSE_MAX - frames->purse ? PURSE_MAX : frames->purse + (int)income;
    }
    frames->paid_ms = now_ms;
    frames->purse -= price;
    return frames->purse >= 0;
}

/* A frame's header is complete. */
static enum rpc_abuse judge(struct frames *frames, size_t block_max, int64_t now_ms) {
    const uint8_t *header = frames->header;
    uint32_t len = (uint32_t)header[0] << 16 | (uint32_t)header[1] << 8 | header[2];
    int type = header[3], flags = header[4];
    frames->payload_left = len;
    switch (type) {
    case TYPE_HEADERS:
    case TYPE_CONTINUATION:
        frames->block_bytes += len;
        frames->block_frames++;
        if (frames->block_bytes > block_max || frames->block_frames > BLOCK_FRAMES_MAX)
            return RPC_ABUSE_HEADERS;
        if (flags & FLAG_END_HEADERS)
            frames->block_bytes = frames->block_frames = 0;
        return RPC_ABUSE_NONE;
    case TYPE_DATA:
        return len > 0 || (flags & FLAG_END_STREAM) || pay(frames, PRICE_USELESS, now_ms) ? RPC_ABUSE_NONE
                                                                                          : RPC_ABUSE_USELESS;
    case TYPE_RST_STREAM:
        return pay(frames, PRICE_USELESS, now_ms) ? RPC_ABUSE_NONE : RPC_ABUSE_RESETS;
    case TYPE_PING:
        return pay(frames, PRICE_PING, now_ms) ? RPC_ABUSE_NONE : RPC_ABUSE_PINGS;
    case TYPE_SETTINGS:
        return pay(frames, PRICE_SETTINGS, now_ms) ? RPC_ABUSE_NONE : RPC_ABUSE_SETTINGS;
    case TYPE_WINDOW_UPDATE:
        return pay(frames, PRICE_WINDOW_UPDATE, now_ms) ? RPC_ABUSE_NONE : RPC_ABUSE_USELESS;
    case TYPE_GOAWAY:
        return RPC_ABUSE_NONE;
    default:
        return pay(frames, PRICE_USELESS, now_ms) ? RPC_ABUSE_NONE : RPC_ABUSE_USELESS;
    }
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
    static const char *const names[RPC_ABUSES] = {"none", "endless_headers", "resets", "pings", "settings", "useless"};
    return names[abuse];
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Frames by hand; see load_h2.h. */
#include "load_h2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

#define FRAME_HEADER 9
#define FRAME_MAX    16384 /* bytes of a payload: the protocol's default, because we announce no other limit */
#define GRPC_PREFIX  5     /* compression flag, length */
#define IN_SIZE      (256 * 1024)
#define OUT_SIZE     (256 * 1024)
#define BLOCK_SIZE   (64 * 1024)
#define IN_SMALL     (FRAME_HEADER + FRAME_MAX)
#define OUT_SMALL    (2 * CALL_ROOM + CONTROL_ROOM)
#define CONTROL_ROOM 4096 /* bytes kept free in `out` for replies to the server's frames */
#define CALL_ROOM    (2 * FRAME_HEADER + HPACK_REQUEST_MAX + GRPC_PREFIX + H2_REQUEST_MAX)
#define CALLS_FIRST  1024 /* initial number of places in the ring */
#define CALLS_SMALL  16
/* Each sold-out coupon has its own block, so this bounds the coupons whose blocks are remembered. */
#define MEMOS          1024
#define MEMOS_SMALL    4
#define WINDOW_MAX     INT32_MAX
#define WINDOW_DEFAULT 65535
#define STREAM_ID_MAX  ((UINT32_C(1) << 31) - 1)
/* We send a WINDOW_UPDATE for the connection after this many bytes. */
#define WINDOW_STEP ((int64_t)1 << 30)
/* SO_SNDTIMEO bounds connect() too. */
#define CONNECT_TIMEOUT_S 10

static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { ACK = 0x1, END_STREAM = 0x1, END_HEADERS = 0x4, PADDED = 0x8, HAS_PRIORITY = 0x20 };
enum { HEADER_TABLE_SIZE = 1, ENABLE_PUSH = 2, MAX_CONCURRENT_STREAMS = 3, INITIAL_WINDOW_SIZE = 4 };
enum { NO_ERROR = 0 };

struct frame {
    uint8_t type, flags;
    uint32_t id;
    const uint8_t *payload;
    size_t n;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct h2 *h2, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(h2->failure, sizeof h2->failure, format, args);
    va_end(args);
    return false;
}

/* --- bytes --- */

static uint32_t get_u32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint8_t *put_u32(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
    return at + 4;
}

static uint8_t *put_frame_header(uint8_t *at, size_t n, uint8_t type, uint8_t flags, uint32_t id) {
    put_u32(at, (uint32_t)n << 8 | type);
    at[4] = flags;
    return put_u32(at + 5, id);
}

static bool put_control(struct h2 *h2, uint8_t type, uint8_t flags, uint32_t id, const uint8_t *payload, size_t n) {
    if (h2->out_size - h2->out_end < FRAME_HEADER + n)
        return fail(h2, "the server sends but does not read");
    uint8_t *at = put_frame_header(h2->out + h2->out_end, n, type, flags, id);
    if (n > 0)
        memcpy(at, payload, n);
    h2->out_end += FRAME_HEADER + n;
    return true;
}

static bool put_control_u32(struct h2 *h2, uint8_t type, uint32_t id, uint32_t value) {
    uint8_t payload[4];
    put_u32(payload, value);
    return put_control(h2, type, 0, id, payload, sizeof payload);
}

/* --- connect --- */

/* The port is chosen by connect(), so that many addresses do not share the ports of one. */
static bool bind_source(int fd, const char *source) {
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET};
    return !source || (inet_pton(AF_INET, source, &address.sin_addr) == 1 &&
                       setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0 &&
                       bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
}

static bool open_socket(struct h2 *h2, const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int code = getaddrinfo(host, port, &hints, &found);
    if (code != 0)
        return fail(h2, "cannot connect: %s", gai_strerror(code));
    int error = 0;
    for (struct addrinfo *one = found; one && h2->fd < 0; one = one->ai_next) {
        int kind = one->ai_socktype | SOCK_CLOEXEC | (h2->settings.is_small ? SOCK_NONBLOCK : 0);
        int fd = socket(one->ai_family, kind, one->ai_protocol);
        struct timeval timeout = {.tv_sec = CONNECT_TIMEOUT_S};
        if (fd >= 0 && bind_source(fd, h2->settings.source) &&
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) == 0 &&
            (connect(fd, one->ai_addr, one->ai_addrlen) == 0 || (errno == EINPROGRESS && h2->settings.is_small))) {
            h2->fd = fd;
        } else {
            error = errno;
            if (fd >= 0)
                close(fd);
        }
    }
    freeaddrinfo(found);
    if (h2->fd < 0)
        return fail(h2, "cannot connect: %s", strerror(error == EINPROGRESS ? ETIMEDOUT : error));
    int on = 1;
    setsockopt(h2->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return true;
}

static void put_preface(struct h2 *h2) {
    static const struct {
        uint16_t setting;
        uint32_t value;
    } settings[] = {{ENABLE_PUSH, 0}, {INITIAL_WINDOW_SIZE, WINDOW_MAX}};
    uint8_t payload[36], *at = payload;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        *at++ = (uint8_t)(settings[i].setting >> 8);
        *at++ = (uint8_t)settings[i].setting;
        at = put_u32(at, settings[i].value);
    }
    memcpy(h2->out, PREFACE, sizeof PREFACE - 1);
    h2->out_end = sizeof PREFACE - 1;
    put_control(h2, SETTINGS, 0, 0, payload, (size_t)(at - payload));
    put_control_u32(h2, WINDOW_UPDATE, 0, WINDOW_MAX - WINDOW_DEFAULT);
}

bool h2_connect(struct h2 *h2, const char *address, const struct h2_settings *settings) {
    *h2 = (struct h2){.fd = -1,
                      .settings = *settings,
                      .next_id = 1,
                      .n_calls = settings->is_small ? CALLS_SMALL : CALLS_FIRST,
                      .in_size = settings->is_small ? IN_SMALL : IN_SIZE,
                      .out_size = settings->is_small ? OUT_SMALL : OUT_SIZE,
                      .send_window = WINDOW_DEFAULT,
                      .stream_window = WINDOW_DEFAULT,
                      .streams_max = INT64_MAX,
                      .table_size = HPACK_TABLE_DEFAULT};
    h2->calls = memory_new(h2->n_calls, sizeof *h2->calls);
    h2->in = memory_new(h2->in_size, 1);
    h2->out = memory_new(h2->out_size, 1);
    h2->reader = hpack_reader_new(settings->is_small ? MEMOS_SMALL : MEMOS);

    char host[256];
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || (size_t)(colon - address) >= sizeof host)
        return fail(h2, "the address must be HOST:PORT");
    bool is_bracketed = address[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - address) - 2 * is_bracketed, address + is_bracketed);
    if (!open_socket(h2, host, colon + 1))
        return false;
    put_preface(h2);
    return true;
}

void h2_free(struct h2 *h2) {
    if (h2->fd >= 0)
        close(h2->fd);
    for (uint32_t i = 0; h2->calls && i < h2->n_calls; i++)
        free(h2->calls[i].buffer);
    free(h2->calls);
    free(h2->in);
    free(h2->out);
    free(h2->block);
    hpack_reader_free(h2->reader);
    *h2 = (struct h2){.fd = -1};
}

/* --- calls --- */

static struct h2_call *place_of(const struct h2 *h2, uint32_t id) {
    return &h2->calls[id >> 1 & (h2->n_calls - 1)];
}

static struct h2_call *find_call(const struct h2 *h2, uint32_t id) {
    struct h2_call *call = place_of(h2, id);
    return id != 0 && call->id == id ? call : NULL;
}

static void grow_ring(struct h2 *h2) {
    struct h2_call *old = h2->calls;
    uint32_t n_old = h2->n_calls;
    h2->n_calls *= 2;
    h2->calls = memory_new(h2->n_calls, sizeof *h2->calls);
    for (uint32_t i = 0; i < n_old; i++)
        if (old[i].id != 0)
            *place_of(h2, old[i].id) = old[i];
    free(old);
}

static void end_call(struct h2 *h2, struct h2_call *call) {
    h2->n_stalled -= call->is_stalled;
    free(call->buffer);
    call->buffer = NULL;
    call->id = 0;
    h2->n_open--;
}

bool h2_can_begin(const struct h2 *h2) {
    return h2->is_ready && h2->n_open < h2->streams_max && h2->send_window >= GRPC_PREFIX + H2_REQUEST_MAX &&
           h2->out_size - h2->out_end >= CALL_ROOM + CONTROL_ROOM;
}

uint8_t *h2_begin(struct h2 *h2, struct h2_call **ret_call) {
    if (h2->n_open * 2 >= h2->n_calls)
        grow_ring(h2);
    while (place_of(h2, h2->next_id)->id != 0)
        h2->next_id += 2;
    if (h2->next_id > STREAM_ID_MAX) {
        fail(h2, "the connection has no stream numbers left: use more connections");
        return NULL;
    }
    struct h2_call *call = place_of(h2, h2->next_id);
    *call = (struct h2_call){.id = h2->next_id};
    h2->next_id += 2;
    h2->n_open++;

    const struct hpack_request *request = &h2->request;
    const uint8_t *block = h2->has_request ? request->next : request->first;
    size_t n = h2->has_request ? request->n_next : request->n_first;
    h2->has_request = true;
    uint8_t *at = put_frame_header(h2->out + h2->out_end, n, HEADERS, END_HEADERS, call->id);
    memcpy(at, block, n);
    h2->out_end += FRAME_HEADER + n;
    *ret_call = call;
    return h2->out + h2->out_end + FRAME_HEADER + GRPC_PREFIX;
}

void h2_commit(struct h2 *h2, struct h2_call *call, size_t message_len) {
    size_t n = GRPC_PREFIX + message_len;
    uint8_t *prefix = put_frame_header(h2->out + h2->out_end, n, DATA, END_STREAM, call->id);
    prefix[0] = 0;
    put_u32(prefix + 1, (uint32_t)message_len);
    if ((int64_t)n <= h2->stream_window) {
        h2->out_end += FRAME_HEADER + n;
        h2->send_window -= (int64_t)n;
        return;
    }
    call->buffer = memory_new(n, 1);
    memcpy(call->buffer, prefix, n);
    call->n_buffered = (uint32_t)n;
    call->window = (int32_t)h2->stream_window;
    call->is_stalled = true;
    h2->n_stalled++;
}

/* Sends as much of a stalled request as the windows and the buffer allow. */
static void send_stalled(struct h2 *h2, struct h2_call *call) {
    int64_t n = call->n_buffered - call->n_sent;
    n = n < call->window ? n : call->window;
    n = n < h2->send_window ? n : h2->send_window;
    int64_t room = (int64_t)h2->out_size - CONTROL_ROOM - FRAME_HEADER - (int64_t)h2->out_end;
    if (n <= 0 || n > room) /* a request that does not fit goes after the next h2_flush */
        return;
    bool is_last = call->n_sent + n == call->n_buffered;
    uint8_t *at =
        put_frame_header(h2->out + h2->out_end, (size_t)n, DATA, (uint8_t)(is_last ? END_STREAM : 0), call->id);
    memcpy(at, call->buffer + call->n_sent, (size_t)n);
    h2->out_end += FRAME_HEADER + (size_t)n;
    h2->send_window -= n;
    call->window -= (int32_t)n;
    call->n_sent += (uint32_t)n;
    if (!is_last)
        return;
    free(call->buffer);
    call->buffer = NULL;
    call->n_buffered = 0;
    call->is_stalled = false;
    h2->n_stalled--;
}

static void send_all_stalled(struct h2 *h2) {
    for (uint32_t i = 0; i < h2->n_calls && h2->n_stalled > 0; i++)
        if (h2->calls[i].id != 0 && h2->calls[i].is_stalled)
            send_stalled(h2, &h2->calls[i]);
}

/* --- answers --- */

static bool on_message(struct h2 *h2, struct h2_call *call, const uint8_t *message, size_t n) {
    if (call->n_messages++ > 0)
        return fail(h2, "a second message on a unary call");
    h2->settings.owner.on_message(h2->settings.owner.arg, call, message, n);
    return true;
}

/* Collects a message that comes in more than one frame. */
static bool gather(struct h2 *h2, struct h2_call *call, const uint8_t *bytes, size_t n) {
    if (call->is_stalled)
        return fail(h2, "an answer came before its request was sent");
    if (!call->buffer)
        call->buffer = memory_new(GRPC_PREFIX + H2_MESSAGE_MAX, 1);
    if (n > GRPC_PREFIX + H2_MESSAGE_MAX - call->n_buffered)
        return fail(h2, "the message exceeds %d bytes", H2_MESSAGE_MAX);
    memcpy(call->buffer + call->n_buffered, bytes, n);
    call->n_buffered += (uint32_t)n;
    if (call->n_buffered < GRPC_PREFIX)
        return true;
    uint32_t length = get_u32(call->buffer + 1);
    if (call->buffer[0] != 0)
        return fail(h2, "the message is compressed, although we did not ask for that");
    if (call->n_buffered - GRPC_PREFIX < length)
        return true;
    if (call->n_buffered - GRPC_PREFIX > length)
        return fail(h2, "a second message on a unary call");
    call->n_buffered = 0;
    return on_message(h2, call, call->buffer + GRPC_PREFIX, length);
}

static bool on_bytes(struct h2 *h2, struct h2_call *call, const uint8_t *bytes, size_t n) {
    if (n == 0)
        return true;
    bool is_whole = call->n_buffered == 0 && n >= GRPC_PREFIX && bytes[0] == 0 && get_u32(bytes + 1) == n - GRPC_PREFIX;
    return is_whole ? on_message(h2, call, bytes + GRPC_PREFIX, n - GRPC_PREFIX) : gather(h2, call, bytes, n);
}

static bool on_end(struct h2 *h2, struct h2_call *call, const struct h2_answer *answer) {
    if (!answer->is_reset && !call->is_stalled && call->n_buffered > 0)
        return fail(h2, "the answer ends in the middle of its message");
    h2->settings.owner.on_answer(h2->settings.owner.arg, call, answer);
    uint32_t id = call->id;
    bool is_half_sent = call->is_stalled && !answer->is_reset;
    end_call(h2, call);
    return !is_half_sent || put_control_u32(h2, RST_STREAM, id, NO_ERROR);
}

static bool strip_padding(struct h2 *h2, struct frame *frame) {
    if (!(frame->flags & PADDED))
        return true;
    if (frame->n < 1 || frame->payload[0] > frame->n - 1)
        return fail(h2, "malformed padding");
    frame->n -= 1u + frame->payload[0];
    frame->payload++;
    return true;
}

static bool acknowledge(struct h2 *h2, size_t n) {
    h2->n_unacknowledged += (int64_t)n;
    if (h2->n_unacknowledged < WINDOW_STEP)
        return true;
    uint32_t step = (uint32_t)h2->n_unacknowledged;
    h2->n_unacknowledged = 0;
    return put_control_u32(h2, WINDOW_UPDATE, 0, step);
}

static bool on_data(struct h2 *h2, struct frame *frame) {
    struct h2_call *call = find_call(h2, frame->id);
    if (!call || call->http_status == 0)
        return fail(h2, "unexpected DATA on stream %u", frame->id);
    if (!acknowledge(h2, frame->n) || !strip_padding(h2, frame) || !on_bytes(h2, call, frame->payload, frame->n))
        return false;
    return !(frame->flags & END_STREAM) || on_end(h2, call, &(struct h2_answer){0});
}

static bool on_block(struct h2 *h2, uint32_t id, uint8_t flags, const uint8_t *block, size_t n) {
    struct h2_call *call = find_call(h2, id);
    if (!call)
        return fail(h2, "unexpected HEADERS on stream %u", id);
    const struct hpack_head *head = hpack_read(h2->reader, block, n);
    if (!head)
        return fail(h2, "malformed headers on stream %u", id);
    bool is_last = flags & END_STREAM, is_first = call->http_status == 0;
    if (is_first == (head->http_status == 0) || (!is_first && !is_last))
        return fail(h2, "the headers on stream %u neither begin nor end an answer", id);
    if (is_first && (head->http_status >= 200 || is_last)) /* after a 1xx, another block with a :status follows */
        call->http_status = (uint16_t)head->http_status;
    return !is_last || on_end(h2, call, &(struct h2_answer){.head = head});
}

static bool on_headers(struct h2 *h2, struct frame *frame) {
    if (!strip_padding(h2, frame))
        return false;
    size_t skip = frame->flags & HAS_PRIORITY ? 5 : 0;
    if (frame->n < skip)
        return fail(h2, "malformed HEADERS");
    if (frame->flags & END_HEADERS)
        return on_block(h2, frame->id, frame->flags, frame->payload + skip, frame->n - skip);
    h2->block_id = frame->id;
    h2->block_flags = frame->flags;
    h2->n_block = frame->n - skip;
    if (!h2->block)
        h2->block = memory_new(BLOCK_SIZE, 1);
    memcpy(h2->block, frame->payload + skip, h2->n_block);
    return true;
}

static bool on_continuation(struct h2 *h2, const struct frame *frame) {
    if (h2->block_id == 0)
        return fail(h2, "CONTINUATION of nothing");
    if (frame->n > BLOCK_SIZE - h2->n_block)
        return fail(h2, "the headers exceed %d bytes", BLOCK_SIZE);
    memcpy(h2->block + h2->n_block, frame->payload, frame->n);
    h2->n_block += frame->n;
    if (!(frame->flags & END_HEADERS))
        return true;
    uint32_t id = h2->block_id;
    h2->block_id = 0;
    return on_block(h2, id, h2->block_flags, h2->block, h2->n_block);
}

static bool on_reset(struct h2 *h2, const struct frame *frame) {
    if (frame->n != 4 || frame->id == 0 || frame->id >= h2->next_id)
        return fail(h2, "malformed RST_STREAM");
    struct h2_call *call = find_call(h2, frame->id);
    struct h2_answer answer = {.is_reset = true, .reset_code = get_u32(frame->payload)};
    return !call || on_end(h2, call, &answer); /* !call: the call has ended already */
}

/* --- the connection --- */

static bool on_setting(struct h2 *h2, uint16_t setting, uint32_t value) {
    switch (setting) {
    case HEADER_TABLE_SIZE:
        if (h2->is_ready && value < h2->table_size)
            return fail(h2, "the server shrank its header table during the connection");
        if (!h2->is_ready)
            h2->table_size = value < HPACK_TABLE_DEFAULT ? value : HPACK_TABLE_DEFAULT;
        return true;
    case MAX_CONCURRENT_STREAMS:
        h2->streams_max = value;
        return true;
    case INITIAL_WINDOW_SIZE:
        if (value > WINDOW_MAX)
            return fail(h2, "INITIAL_WINDOW_SIZE of %u", value);
        for (uint32_t i = 0; i < h2->n_calls && h2->n_stalled > 0; i++)
            if (h2->calls[i].id != 0 && h2->calls[i].is_stalled)
                h2->calls[i].window = (int32_t)(h2->calls[i].window + (int64_t)value - h2->stream_window);
        h2->stream_window = value;
        return true;
    default:
        return true;
    }
}

static bool on_settings(struct h2 *h2, const struct frame *frame) {
    if (frame->flags & ACK)
        return true;
    if (frame->n % 6 != 0 || frame->id != 0)
        return fail(h2, "malformed SETTINGS");
    for (const uint8_t *at = frame->payload; at < frame->payload + frame->n; at += 6)
        if (!on_setting(h2, (uint16_t)(at[0] << 8 | at[1]), get_u32(at + 2)))
            return false;
    if (!h2->is_ready)
        hpack_request_init(&h2->request, h2->settings.path, h2->settings.authority, h2->settings.timeout_ms,
                           h2->table_size);
    h2->is_ready = true;
    send_all_stalled(h2);
    return put_control(h2, SETTINGS, ACK, 0, NULL, 0);
}

static bool on_window_update(struct h2 *h2, const struct frame *frame) {
    if (frame->n != 4)
        return fail(h2, "malformed WINDOW_UPDATE");
    uint32_t more = get_u32(frame->payload) & WINDOW_MAX;
    if (frame->id == 0) {
        h2->send_window += more;
        if (h2->send_window > WINDOW_MAX)
            return fail(h2, "the server's window overflows");
        send_all_stalled(h2);
        return true;
    }
    struct h2_call *call = find_call(h2, frame->id);
    if (!call || !call->is_stalled) /* the request is sent completely, so its window no longer matters */
        return true;
    if (more > WINDOW_MAX - (int64_t)call->window)
        return fail(h2, "the window of stream %u overflows", frame->id);
    call->window = (int32_t)(call->window + (int64_t)more);
    send_stalled(h2, call);
    return true;
}

static bool on_goaway(struct h2 *h2, const struct frame *frame) {
    if (frame->n < 8)
        return fail(h2, "malformed GOAWAY");
    char text[128];
    size_t n = frame->n - 8 < sizeof text - 1 ? frame->n - 8 : sizeof text - 1;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = frame->payload[8 + i];
        text[i] = c >= ' ' && c < 0x7F ? (char)c : '?';
    }
    text[n] = '\0';
    return fail(h2, "GOAWAY, code %u%s%s", get_u32(frame->payload + 4), n ? ": " : "", text);
}

static bool on_frame(struct h2 *h2, struct frame *frame) {
    if (!h2->is_ready && (frame->type != SETTINGS || frame->flags & ACK) && frame->type != GOAWAY)
        return fail(h2, "the server's first frame is not SETTINGS: is it gRPC without TLS?");
    if (h2->block_id != 0 && (frame->type != CONTINUATION || frame->id != h2->block_id))
        return fail(h2, "another frame came in the middle of headers");
    switch (frame->type) {
    case DATA:
        return on_data(h2, frame);
    case HEADERS:
        return on_headers(h2, frame);
    case RST_STREAM:
        return on_reset(h2, frame);
    case SETTINGS:
        return on_settings(h2, frame);
    case PUSH_PROMISE:
        return fail(h2, "the server sent PUSH_PROMISE, which we forbid");
    case PING:
        if (frame->n != 8)
            return fail(h2, "malformed PING");
        return frame->flags & ACK || put_control(h2, PING, ACK, 0, frame->payload, frame->n);
    case GOAWAY:
        return on_goaway(h2, frame);
    case WINDOW_UPDATE:
        return on_window_update(h2, frame);
    case CONTINUATION:
        return on_continuation(h2, frame);
    default: /* ignore PRIORITY and unknown frames */
        return true;
    }
}

bool h2_read(struct h2 *h2) {
    ssize_t n = recv(h2->fd, h2->in + h2->in_end, h2->in_size - h2->in_end, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n < 0)
        return fail(h2, "the connection is lost: %s", strerror(errno));
    if (n == 0)
        return fail(h2, "the connection is lost: the server closed it");
    h2->read_us = clock_mono_us();
    h2->in_end += (size_t)n;
    const uint8_t *at = h2->in, *end = h2->in + h2->in_end;
    while (end - at >= FRAME_HEADER) {
        uint32_t first = get_u32(at);
        struct frame frame = {.type = (uint8_t)first,
                              .flags = at[4],
                              .id = get_u32(at + 5) & STREAM_ID_MAX,
                              .payload = at + FRAME_HEADER,
                              .n = first >> 8};
        if (frame.n > FRAME_MAX)
            return fail(h2, "the frame has %zu bytes: is it gRPC without TLS?", frame.n);
        if ((size_t)(end - frame.payload) < frame.n)
            break;
        at = frame.payload + frame.n;
        if (!on_frame(h2, &frame))
            return false;
    }
    h2->in_end = (size_t)(end - at);
    if (at > h2->in && h2->in_end > 0)
        memmove(h2->in, at, h2->in_end);
    return true;
}

bool h2_flush(struct h2 *h2) {
    while (h2->out_at < h2->out_end) {
        ssize_t n = send(h2->fd, h2->out + h2->out_at, h2->out_end - h2->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return fail(h2, "the connection is lost: %s", strerror(errno));
        if (n < 0)
            break;
        h2->out_at += (size_t)n;
    }
    h2->out_end -= h2->out_at;
    if (h2->out_at > 0 && h2->out_end > 0)
        memmove(h2->out, h2->out + h2->out_at, h2->out_end);
    h2->out_at = 0;
    if (h2->n_stalled > 0)
        send_all_stalled(h2);
    return true;
}

bool h2_is_flushed(const struct h2 *h2) {
    return h2->out_end == 0;
}

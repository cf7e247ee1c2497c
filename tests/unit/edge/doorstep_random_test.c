/* SPDX-License-Identifier: Apache-2.0 */
/* Random clients write calls of all kinds. The doorstep answers some of them, and others are taken and answered later.
 * The core has to read a connection on which those calls were not made, and the client an answer for each of them.
 * nghttp2 reads and writes the header blocks on both sides. */
#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/memory.h"
#include "doorstep_bed.h"
#include "edge/doorstep/pass.h"

#define STREAMS_MAX 60
#define SEEDS       400
#define ANSWER_MAX  300
#define WINDOW      65535                 /* of a connection, by default */
#define CORE_STREAM (STREAMS_MAX * 4 + 1) /* of the model core's own calls */

/* --- the service --- */

static struct edge_answer answers[3]; /* of different coupons */
static int n_answered;

/* A call that was taken. */
static struct pending {
    struct edge_taken taken; /* first */
    uint32_t number;
    int n_kept, n_gone;
    bool is_answered, is_error, was_given; /* was_given: the doorstep took the answer */
    size_t len;                            /* of its message */
} pendings[STREAMS_MAX];
static int n_pendings;

static unsigned random_below(unsigned n);

/* The request is a number. Even ones are refused, a half of the odd ones is taken, and the others go to the core. */
static const struct edge_answer *answer_even(void *arg, const struct edge_call *call) {
    (void)arg;
    cr_assert_eq(call->len, 4);
    uint32_t number = get_u32(call->message);
    const struct edge_field *secret = edge_call_field(call, "authorization");
    if (secret)
        cr_assert(secret->value_len == 6 && memcmp(secret->value, "secret", 6) == 0);
    return number % 2 == 0 ? &answers[number / 2 % 3] : NULL;
}

static void on_answered(void *arg, uint64_t tag, int64_t n) {
    (void)arg;
    cr_assert_lt(tag, 3);
    n_answered += (int)n;
}

static struct edge_taken *take_some(void *arg, const struct edge_call *call) {
    (void)arg;
    uint32_t number = get_u32(call->message);
    bool has_path = false;
    for (size_t i = 0; i < call->n_fields; i++)
        has_path |= call->fields[i].value_len == strlen(BED_PATH) &&
                    memcmp(call->fields[i].value, BED_PATH, strlen(BED_PATH)) == 0;
    cr_assert(has_path);
    if (number % 4 != 1)
        return NULL;
    cr_assert_lt(n_pendings, STREAMS_MAX);
    struct pending *pending = &pendings[n_pendings++];
    *pending = (struct pending){.number = number};
    return &pending->taken;
}

static void answer_pending(struct pending *pending) {
    static const struct edge_header error[] = {
        {"content-type", "application/grpc"}, {"grpc-status", "9"}, {"grpc-message", "taken"}, {"x-odd", "odd"}};
    static const struct edge_header own[] = {{"grpc-status", "0"}, {"x-own", "own"}};
    uint8_t message[ANSWER_MAX] = {0};
    struct edge_reply reply = {.head = error, .n_head = 4};
    pending->is_error = random_below(3) == 0;
    pending->len = pending->is_error ? 0 : PREFIX_LEN + random_below(ANSWER_MAX - PREFIX_LEN);
    if (!pending->is_error) {
        put_u32(message + 1, (uint32_t)(pending->len - PREFIX_LEN));
        reply =
            (struct edge_reply){.message = message, .len = pending->len, .tail = own, .n_tail = 2 * random_below(2)};
    }
    pending->is_answered = true;
    pending->was_given = edge_taken_answer(&pending->taken, &reply);
}

static void begin_some(void *arg, struct edge_taken *taken, const struct edge_call *call) {
    (void)arg, (void)call;
    if (random_below(4) == 0)
        answer_pending((struct pending *)taken);
}

static void keep(struct edge_taken *taken) {
    ((struct pending *)taken)->n_kept++;
}

static void on_gone(struct edge_taken *taken) {
    ((struct pending *)taken)->n_gone++;
}

static const struct edge_early early = {
    .path = BED_PATH,
    .answer = answer_even,
    .on_answered = on_answered,
    .answer_bytes = ANSWER_MAX,
    .taken_max = STREAMS_MAX,
    .take = take_some,
    .begin = begin_some,
    .keep = keep,
    .on_gone = on_gone,
};

/* --- a random client --- */

static uint64_t state;

static unsigned random_below(unsigned n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}

struct stream {
    uint32_t id, number;
    bool is_publish, may_be_answered;
    char timeout[16], other[300];
    bool has_timeout, has_other, has_secret;
    int n_frames, next_frame; /* frames of DATA */
    bool is_reset;
    /* as the core saw it */
    bool core_has_headers, core_has_end;
    uint8_t body[64];
    size_t body_len;
    int core_fields;
    /* as the client saw it */
    int n_answers, n_heads;
    size_t data_len;
};

struct client {
    nghttp2_hd_deflater *deflater;
    nghttp2_hd_inflater *inflater;
    struct written out;
    struct stream streams[STREAMS_MAX];
    int n_streams;
    unsigned n_pings;
    bool has_less_table;
};

static nghttp2_nv field(const char *name, const char *value, uint8_t flags) {
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), flags};
}

static void open_stream(struct client *client) {
    struct stream *stream = &client->streams[client->n_streams++];
    *stream = (struct stream){
        .id = (uint32_t)(2 * client->n_streams - 1),
        .number = random_below(1000),
        .is_publish = random_below(4) > 0,
        .has_timeout = random_below(2),
        .has_other = random_below(5) == 0,
        .has_secret = random_below(3) == 0,
        .n_frames = random_below(4) == 0 ? 2 : 1,
    };
    snprintf(stream->timeout, sizeof stream->timeout, "%uu", random_below(1000000));
    memset(stream->other, 'a' + (int)random_below(26), random_below(sizeof stream->other));
    nghttp2_nv fields[] = {
        field(":method", "POST", 0),
        field(":scheme", "http", 0),
        field(":path", stream->is_publish ? BED_PATH : "/coupon.v1.CouponService/GetStatus", 0),
        field(":authority", "localhost", 0),
        field("content-type", "application/grpc+proto", 0),
        field("te", "trailers", 0),
        field("authorization", "secret", NGHTTP2_NV_FLAG_NO_INDEX),
        field("grpc-timeout", stream->timeout, 0),
        field("x-other", stream->other, random_below(2) ? NGHTTP2_NV_FLAG_NO_INDEX : 0),
    };
    size_t n = 6;
    if (stream->has_secret)
        fields[n++] = field("authorization", "secret", NGHTTP2_NV_FLAG_NO_INDEX);
    if (stream->has_timeout)
        fields[n++] = field("grpc-timeout", stream->timeout, 0);
    if (stream->has_other)
        fields[n++] = field("x-other", stream->other, random_below(2) ? NGHTTP2_NV_FLAG_NO_INDEX : 0);
    stream->core_fields = (int)n;
    if (random_below(40) == 0)
        nghttp2_hd_deflate_change_table_size(client->deflater, random_below(2) ? 4096 : random_below(4096));
    uint8_t block[4096];
    ssize_t len = nghttp2_hd_deflate_hd(client->deflater, block + 6, sizeof block - 20, fields, n);
    cr_assert_gt(len, 0);
    int flags = 0;
    uint8_t *begin = block + 6, *end = begin + len;
    if (random_below(4) == 0) {
        flags |= FLAG_PRIORITY;
        begin -= 5;
        memset(begin, 1, 5);
    }
    if (random_below(4) == 0) {
        flags |= FLAG_PADDED;
        begin--;
        *begin = 3;
        memset(end, 0, 3);
        end += 3;
    } else if (random_below(4) == 0 && !(flags & FLAG_PRIORITY)) {
        size_t first = random_below((unsigned)len);
        put_frame(&client->out, TYPE_HEADERS, 0, stream->id, begin, first);
        put_frame(&client->out, TYPE_CONTINUATION, FLAG_END_HEADERS, stream->id, begin + first,
                  (size_t)(end - begin) - first);
        return;
    }
    put_frame(&client->out, TYPE_HEADERS, flags | FLAG_END_HEADERS, stream->id, begin, (size_t)(end - begin));
}

static void put_data(struct client *client, struct stream *stream) {
    uint8_t message[PREFIX_LEN + 4] = {0, 0, 0, 0, 4};
    put_u32(message + PREFIX_LEN, stream->number);
    bool is_first = stream->next_frame++ == 0, is_last = stream->next_frame == stream->n_frames;
    /* Of two frames, one in three has a part of the message each. */
    size_t split = stream->number % 3 == 0 && stream->n_frames == 2 ? 3 : sizeof message;
    put_frame(&client->out, TYPE_DATA, is_last ? FLAG_END_STREAM : 0, stream->id, is_first ? message : message + split,
              is_first ? split : sizeof message - split);
}

/* As gRPC's C core does behind HEADERS. */
static void maybe_open_window(struct client *client) {
    uint8_t payload[4] = {0, 0, 0, 5};
    if (random_below(3) == 0)
        put_frame(&client->out, TYPE_WINDOW_UPDATE, 0, client->streams[client->n_streams - 1].id, payload, 4);
}

static void grant(struct client *client, uint32_t n) {
    uint8_t payload[4];
    put_u32(payload, n);
    put_frame(&client->out, TYPE_WINDOW_UPDATE, 0, 0, payload, 4);
}

static void put_other(struct client *client) {
    uint8_t payload[8] = {0, 0, 0, 9};
    uint32_t id = client->n_streams > 0 ? client->streams[random_below((unsigned)client->n_streams)].id : 0;
    switch (random_below(4)) {
    case 0:
        client->n_pings++;
        put_frame(&client->out, TYPE_PING, 0, 0, payload, 8);
        break;
    case 1:
        put_frame(&client->out, TYPE_WINDOW_UPDATE, 0, random_below(2) ? id : 0, payload, 4);
        break;
    case 3:
        grant(client, 1 + random_below(5000));
        break;
    case 2:
        put_frame(&client->out, TYPE_SETTINGS, FLAG_ACK, 0, payload, 0);
        break;
    default:
        break;
    }
}

/* Ends a call as a client does that no longer waits. */
static void maybe_reset(struct client *client, struct stream *stream) {
    if (random_below(12) > 0)
        return;
    uint8_t code[4] = {0, 0, 0, 8};
    stream->is_reset = true;
    put_frame(&client->out, TYPE_RST_STREAM, 0, stream->id, code, sizeof code);
}

static void write_client(struct client *client) {
    uint8_t settings[6] = {0, 1, 0, 0, 0x10, 0};
    put(&client->out, PREFACE, PREFACE_LEN);
    client->has_less_table = random_below(4) == 0;
    if (client->has_less_table)
        settings[4] = 1; /* a table of 256 bytes */
    put_frame(&client->out, TYPE_SETTINGS, 0, 0, settings, sizeof settings);
    if (random_below(3))
        grant(client, 1 + random_below(random_below(2) ? 1 << 20 : 1000));
    unsigned n = 1 + random_below(STREAMS_MAX);
    for (int left = 1; left > 0;) {
        left = 0;
        if (client->n_streams < (int)n && random_below(2)) {
            open_stream(client);
            maybe_open_window(client);
        }
        if (random_below(6) == 0)
            put_other(client);
        for (int i = 0; i < client->n_streams; i++) {
            struct stream *stream = &client->streams[i];
            if (stream->next_frame == stream->n_frames || stream->is_reset)
                continue;
            left++;
            if (random_below(3) == 0) {
                put_data(client, stream);
                maybe_reset(client, stream);
            }
        }
        left += client->n_streams < (int)n;
    }
}

/* --- the two readers --- */

static int inflate(nghttp2_hd_inflater *inflater, const uint8_t *block, size_t len,
                   void (*see)(void *arg, const nghttp2_nv *field), void *arg) {
    int n = 0;
    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, block, len, 1);
        cr_assert_geq(used, 0, "the block is wrong: %zd, %02x %02x, %zu left", used, block[0], block[1], len);
        block += used;
        len -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            see(arg, &field);
            n++;
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(inflater);
    return n;
}

static bool is(const nghttp2_nv *field, const char *name, const char *value) {
    return field->namelen == strlen(name) && memcmp(field->name, name, field->namelen) == 0 &&
           field->valuelen == strlen(value) && memcmp(field->value, value, field->valuelen) == 0;
}

static void see_request(void *arg, const nghttp2_nv *field) {
    const struct stream *stream = arg;
    bool is_right = is(field, ":method", "POST") || is(field, ":scheme", "http") ||
                    is(field, ":path", stream->is_publish ? BED_PATH : "/coupon.v1.CouponService/GetStatus") ||
                    is(field, ":authority", "localhost") || is(field, "content-type", "application/grpc+proto") ||
                    is(field, "te", "trailers") || (stream->has_secret && is(field, "authorization", "secret")) ||
                    (stream->has_timeout && is(field, "grpc-timeout", stream->timeout)) ||
                    (stream->has_other && is(field, "x-other", stream->other));
    cr_assert(is_right, "stream %u: %.*s: %.*s", stream->id, (int)field->namelen, (char *)field->name,
              (int)field->valuelen, (char *)field->value);
}

struct core {
    nghttp2_hd_inflater *inflater;
    uint8_t bytes[BYTES_MAX];
    size_t len, at;
    uint32_t last_stream;
    unsigned n_pings;
    uint64_t granted, sent; /* bytes of DATA */
    bool has_preface;
    uint8_t block[8192];
    size_t block_len;
};

static struct stream *stream_of(struct client *client, uint32_t id) {
    cr_assert(id % 2 == 1 && (int)(id + 1) / 2 <= client->n_streams, "stream %u", id);
    return &client->streams[id / 2];
}

static void core_takes_block(struct core *core, struct stream *stream, const uint8_t *bytes, size_t len, int flags) {
    memcpy(core->block + core->block_len, bytes, len);
    core->block_len += len;
    if (!(flags & FLAG_END_HEADERS))
        return;
    cr_assert_eq(inflate(core->inflater, core->block, core->block_len, see_request, stream), stream->core_fields);
    core->block_len = 0;
}

static void core_takes(struct core *core, struct client *client, int type, int flags, uint32_t id,
                       const uint8_t *payload, size_t len) {
    struct stream *stream = id ? stream_of(client, id) : NULL;
    switch (type) {
    case TYPE_HEADERS:
        cr_assert_gt(id, core->last_stream);
        core->last_stream = id;
        stream->core_has_headers = true;
        size_t pad = 0;
        if (flags & FLAG_PADDED) {
            pad = *payload++;
            len--;
        }
        if (flags & FLAG_PRIORITY) {
            payload += 5;
            len -= 5;
        }
        core_takes_block(core, stream, payload, len - pad, flags);
        break;
    case TYPE_CONTINUATION:
        core_takes_block(core, stream, payload, len, flags);
        break;
    case TYPE_DATA:
        cr_assert(stream->core_has_headers, "DATA of stream %u without HEADERS", id);
        memcpy(stream->body + stream->body_len, payload, len);
        stream->body_len += len;
        stream->core_has_end |= (flags & FLAG_END_STREAM) != 0;
        break;
    case TYPE_RST_STREAM:
    case TYPE_WINDOW_UPDATE:
        cr_assert(type != TYPE_WINDOW_UPDATE || get_u32(payload) > 0);
        core->granted += !stream ? get_u32(payload) : 0;
        /* A stream that was answered is closed, if the core has seen a later one. */
        cr_assert(!stream || stream->core_has_headers || id < core->last_stream, "stream %u is idle", id);
        break;
    case TYPE_PING:
        core->n_pings++;
        break;
    default:
        cr_assert_eq(type, TYPE_SETTINGS);
        break;
    }
}

static void core_reads(struct core *core, struct client *client) {
    if (!core->has_preface && core->len - core->at >= PREFACE_LEN) {
        cr_assert_eq(memcmp(core->bytes, PREFACE, PREFACE_LEN), 0);
        core->has_preface = true;
        core->at = PREFACE_LEN;
    }
    while (core->has_preface && core->len - core->at >= HEADER_LEN) {
        const uint8_t *header = core->bytes + core->at;
        size_t len = get_u32(header) >> 8;
        if (core->len - core->at < HEADER_LEN + len)
            break;
        core_takes(core, client, header[TYPE_AT], header[FLAGS_AT], get_u32(header + STREAM_AT), header + HEADER_LEN,
                   len);
        core->at += HEADER_LEN + len;
    }
}

struct seen {
    bool has_status, has_type, has_code, has_text;
    const struct stream *stream;
};

static void see_answer(void *arg, const nghttp2_nv *field) {
    struct seen *seen = arg;
    char text[40];
    snprintf(text, sizeof text, "coupon %u is sold out", seen->stream->number / 2 % 3);
    seen->has_status |= is(field, ":status", "200");
    seen->has_type |= is(field, "content-type", "application/grpc");
    seen->has_code |= is(field, "grpc-status", "9");
    seen->has_text |= is(field, "grpc-message", text);
}

static void see_core_answer(void *arg, const nghttp2_nv *field) {
    (void)arg, (void)field;
}

static const struct pending *pending_of(const struct stream *stream) {
    for (int i = 0; i < n_pendings; i++)
        if (pendings[i].taken.stream == stream->id)
            return &pendings[i];
    return NULL;
}

struct seen_taken {
    bool has_status, has_type;
    int code, n_own;
};

static void see_taken(void *arg, const nghttp2_nv *field) {
    struct seen_taken *seen = arg;
    seen->has_status |= is(field, ":status", "200");
    seen->has_type |= is(field, "content-type", "application/grpc");
    seen->code = is(field, "grpc-status", "0") ? 0 : is(field, "grpc-status", "9") ? 9 : seen->code;
    seen->n_own += is(field, "x-own", "own") || is(field, "x-odd", "odd");
}

/* A header block of a call that was taken: the head, the trailers, or an error. */
static void read_taken(struct client *client, struct stream *stream, int flags, const uint8_t *block, size_t len) {
    const struct pending *pending = pending_of(stream);
    struct seen_taken seen = {.code = -1};
    inflate(client->inflater, block, len, see_taken, &seen);
    cr_assert(pending && pending->was_given && stream->n_answers == 0, "stream %u", stream->id);
    bool is_last = flags & FLAG_END_STREAM, is_head = !is_last || pending->is_error;
    cr_assert(seen.has_status == is_head && seen.has_type == is_head);
    cr_assert_eq(seen.code, !is_last ? -1 : pending->is_error ? 9 : 0);
    cr_assert_eq(stream->n_heads, is_last && !pending->is_error);
    stream->n_heads += !is_last;
    stream->n_answers += is_last;
}

/* Returns the credit that the client got. */
static uint32_t client_reads(struct client *client, const uint8_t *bytes, size_t size) {
    uint32_t credit = 0;
    for (size_t at = 0; at < size;) {
        const uint8_t *header = bytes + at, *payload = header + HEADER_LEN;
        cr_assert_geq(size - at, HEADER_LEN);
        size_t len = get_u32(header) >> 8;
        uint32_t id = get_u32(header + STREAM_AT);
        if (header[TYPE_AT] == TYPE_WINDOW_UPDATE) {
            cr_assert_eq(id, 0);
            credit += get_u32(payload);
        } else if (header[TYPE_AT] == TYPE_HEADERS && id == CORE_STREAM) {
            inflate(client->inflater, payload, len, see_core_answer, NULL);
        } else if (header[TYPE_AT] == TYPE_DATA && id != CORE_STREAM) {
            struct stream *stream = stream_of(client, id);
            cr_assert(stream->n_heads == 1 && stream->n_answers == 0 && !(header[FLAGS_AT] & FLAG_END_STREAM));
            stream->data_len += len;
        } else if (header[TYPE_AT] == TYPE_HEADERS && stream_of(client, id)->number % 4 == 1) {
            read_taken(client, stream_of(client, id), header[FLAGS_AT], payload, len);
        } else if (header[TYPE_AT] == TYPE_HEADERS) {
            struct stream *stream = stream_of(client, id);
            struct seen seen = {.stream = stream};
            cr_assert_eq(header[FLAGS_AT], FLAG_END_STREAM | FLAG_END_HEADERS);
            cr_assert_eq(inflate(client->inflater, payload, len, see_answer, &seen), 4);
            cr_assert(seen.has_status && seen.has_type && seen.has_code && seen.has_text);
            stream->n_answers++;
        }
        at += HEADER_LEN + len;
    }
    return credit;
}

/* The core answers another call: a literal that is to be remembered, and at first that the table has 0 bytes. */
static void core_writes(struct cork *cork, int fd, bool *begun, bool leaves_table) {
    static const char field[] = "\x40\x04name\x05value";
    uint8_t frame[40];
    size_t len = 0;
    if (!*begun && leaves_table)
        frame[HEADER_LEN + len++] = 0x20;
    *begun = true;
    frame[HEADER_LEN + len++] = 0x88;
    memcpy(frame + HEADER_LEN + len, field, sizeof field - 1);
    len += sizeof field - 1;
    put_frame_header(frame, (uint32_t)len, TYPE_HEADERS, FLAG_END_HEADERS, CORE_STREAM);
    struct iovec pieces[2] = {{frame, 5}, {frame + 5, HEADER_LEN + len - 5}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    cr_assert_eq(cork_send(cork, fd, &message, 0), (ssize_t)(HEADER_LEN + len));
}

/* The core sends all that it may, in two pieces now and then, between which the doorstep has answers to put. */
static void core_sends(struct core *core, struct cork *cork, int fd) {
    static uint8_t frame[HEADER_LEN + 16384];
    uint64_t most = WINDOW + core->granted - core->sent;
    size_t len = most < 16384 ? (size_t)most : 16384, first = HEADER_LEN + random_below((unsigned)len + 1);
    put_frame_header(frame, (uint32_t)len, TYPE_DATA, 0, CORE_STREAM);
    struct iovec pieces[2] = {{frame, first}, {frame + first, HEADER_LEN + len - first}};
    for (int i = 0; i < 2; i++) {
        struct msghdr message = {.msg_iov = &pieces[i], .msg_iovlen = 1};
        cork_send(cork, fd, &message, 0);
        for (int j = 0; j < n_pendings && i == 0; j++)
            if (!pendings[j].is_answered && random_below(4) == 0)
                answer_pending(&pendings[j]);
    }
    core->sent += len;
}

static void check_window(const struct doorstep *doorstep) {
    const struct window *window = &doorstep->window;
    cr_assert_geq(window->promised, 0);
    cr_assert_geq(window->kept, window->promised);
    cr_assert_leq(window->kept, window->widest / 4);
}

/* Every call that was taken has one answer, unless its client has gone. */
static void check_pendings(struct client *client) {
    for (int i = 0; i < n_pendings; i++) {
        const struct pending *pending = &pendings[i];
        const struct stream *stream = stream_of(client, pending->taken.stream);
        cr_assert_eq(pending->n_kept, pending->n_gone);
        cr_assert_eq(pending->was_given + pending->n_gone, 1, "given %d, gone %d", pending->was_given, pending->n_gone);
        cr_assert_eq(stream->n_answers, pending->was_given);
        cr_assert_eq(stream->data_len, pending->was_given ? pending->len : 0);
    }
}

static int n_taken; /* of all runs */

static int run(uint64_t seed) {
    struct client *client = memory_new(1, sizeof *client);
    struct core *core = memory_new(1, sizeof *core);
    struct cork cork = {.follows = true};
    struct doorstep *doorstep = doorstep_new(BED_PORT, NULL);
    int fds[2];
    bool core_has_written = false, leaves_table = seed % 4 > 0;
    state = seed * 7919 + 1;
    n_answered = n_pendings = 0;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    int size = BYTES_MAX;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    nghttp2_hd_deflate_new(&client->deflater, 4096);
    nghttp2_hd_inflate_new(&client->inflater);
    nghttp2_hd_inflate_new(&core->inflater);
    write_client(client);
    /* From now on, the first block that the client reads has to begin with a size. */
    if (client->has_less_table && leaves_table)
        nghttp2_hd_inflate_change_table_size(client->inflater, 256);
    core_begins(&cork, fds[0]);
    for (size_t at = 0; at < client->out.len;) {
        uint8_t buffer[2000];
        size_t most = random_below(3) ? 1 + random_below(300) : 1 + random_below(1900);
        size_t n = client->out.len - at < most ? client->out.len - at : most, first = random_below((unsigned)n + 1);
        memcpy(buffer, client->out.bytes + at, n);
        struct iovec pieces[2] = {{buffer, first}, {buffer + first, n + random_below((unsigned)(2000 - n)) - first}};
        struct msghdr got = {.msg_iov = pieces, .msg_iovlen = 2};
        struct doorstep_room room = {.pieces = pieces, .n = 2};
        at += n;
        bool is_fine = doorstep_take(doorstep, &cork, fds[0], &got, n, &room);
        cr_assert(is_fine, "seed %llu", (unsigned long long)seed);
        memcpy(core->bytes + core->len, buffer, room.total);
        core->len += room.total;
        while (doorstep_has_more(doorstep)) {
            struct iovec piece = {buffer, 1 + random_below(500)};
            room = (struct doorstep_room){.pieces = &piece, .n = 1};
            doorstep_give(doorstep, &room);
            memcpy(core->bytes + core->len, buffer, room.total);
            core->len += room.total;
        }
        core_reads(core, client);
        if (random_below(10) == 0)
            core_writes(&cork, fds[0], &core_has_written, leaves_table);
        if (random_below(10) == 0)
            core_sends(core, &cork, fds[0]);
        for (int i = 0; i < n_pendings; i++)
            if (!pendings[i].is_answered && random_below(20) == 0)
                answer_pending(&pendings[i]);
        check_window(doorstep);
    }
    doorstep_part(doorstep, &cork, fds[0]);
    for (int i = 0; i < n_pendings; i++)
        if (!pendings[i].is_answered)
            answer_pending(&pendings[i]);
    check_window(doorstep);
    cr_assert_eq(doorstep->window.promised, 0);
    size_t n_own = (size_t)doorstep->window.used;
    cr_assert_eq(core->granted + n_own + (uint64_t)doorstep->window.kept, client->out.granted,
                 "seed %llu: the core and the answers may send too much, or too little", (unsigned long long)seed);
    close(fds[0]);
    uint8_t *answered = memory_new(BYTES_MAX, 1);
    size_t n_bytes = 0;
    for (ssize_t n; (n = read(fds[1], answered + n_bytes, BYTES_MAX - n_bytes)) > 0;)
        n_bytes += (size_t)n;
    close(fds[1]);
    client_reads(client, answered, n_bytes);
    int n_answers = 0;
    for (int i = 0; i < client->n_streams; i++) {
        const struct stream *stream = &client->streams[i];
        bool may = stream->is_publish && (stream->number % 2 == 0 || pending_of(stream));
        n_answers += stream->number % 2 == 0 ? stream->n_answers : 0;
        cr_assert_leq(stream->n_answers, may, "seed %llu, stream %u", (unsigned long long)seed, stream->id);
        cr_assert_neq(stream->core_has_headers, stream->n_answers == 1 || pending_of(stream), "seed %llu, stream %u",
                      (unsigned long long)seed, stream->id);
        if (!stream->core_has_headers || stream->is_reset)
            continue;
        cr_assert(stream->core_has_end && stream->body_len == PREFIX_LEN + 4 &&
                      get_u32(stream->body + PREFIX_LEN) == stream->number,
                  "seed %llu, stream %u", (unsigned long long)seed, stream->id);
    }
    check_pendings(client);
    n_taken += n_pendings;
    cr_assert_eq(n_answers, n_answered);
    cr_assert_eq(core->n_pings, client->n_pings);
    cr_assert_eq(core->at, core->len);
    doorstep_free(doorstep);
    cork_close(&cork, -1);
    nghttp2_hd_deflate_del(client->deflater);
    nghttp2_hd_inflate_del(client->inflater);
    nghttp2_hd_inflate_del(core->inflater);
    free(answered);
    free(client);
    free(core);
    return n_answers;
}

static void open_door(void) {
    static const char *const texts[] = {"coupon 0 is sold out", "coupon 1 is sold out", "coupon 2 is sold out"};
    for (int i = 0; i < 3; i++) {
        const struct edge_header headers[] = {
            {"content-type", "application/grpc"}, {"grpc-status", "9"}, {"grpc-message", texts[i]}};
        cr_assert(edge_answer_make(&answers[i], headers, 3));
        answers[i].tag = (uint64_t)i;
    }
    doorstep_open(BED_PORT, &early, 8192);
}

Test(doorstep_random, core_reads_a_connection_without_the_answered_calls) {
    int n = 0;
    open_door();
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        n += run(seed);
    cr_assert_gt(n, 2 * SEEDS, "only %d calls were answered", n);
    cr_assert_gt(n_taken, SEEDS, "only %d calls were taken", n_taken);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "doorstep_bed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/memory.h"
#include "edge/doorstep/hpack.h"

/* --- what the client writes --- */

void put(struct written *out, const void *bytes, size_t len) {
    cr_assert_lt(out->len + len, sizeof out->bytes);
    memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

void put_frame(struct written *out, enum http2_type type, int flags, uint32_t stream, const void *payload, size_t len) {
    uint8_t header[HEADER_LEN];
    put_frame_header(header, (uint32_t)len, type, flags, stream);
    put(out, header, sizeof header);
    put(out, payload, len);
    if (type == TYPE_WINDOW_UPDATE && stream == 0)
        out->granted += get_u32(payload);
}

uint8_t *put_call(uint8_t *at, const uint8_t *end, bool remember, const char *path) {
    const struct hpack_text fields[][2] = {{{":method", 7}, {"POST", 4}},
                                           {{":scheme", 7}, {"http", 4}},
                                           {{":path", 5}, {path, strlen(path)}},
                                           {{":authority", 10}, {"x", 1}},
                                           {{"content-type", 12}, {"application/grpc", 16}},
                                           {{"te", 2}, {"trailers", 8}}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        at = hpack_put_literal(at, end, remember, fields[i][0], fields[i][1]);
    return at;
}

void put_headers(struct written *out, uint32_t stream, const char *path) {
    uint8_t block[512];
    size_t len = (size_t)(put_call(block, block + sizeof block, false, path) - block);
    put_frame(out, TYPE_HEADERS, FLAG_END_HEADERS, stream, block, len);
}

void put_request(struct written *out, uint32_t stream, uint32_t number) {
    uint8_t message[PREFIX_LEN + 4] = {0, 0, 0, 0, 4};
    put_u32(message + PREFIX_LEN, number);
    put_frame(out, TYPE_DATA, FLAG_END_STREAM, stream, message, sizeof message);
}

void put_grant(struct written *out, uint32_t n) {
    uint8_t payload[4];
    put_u32(payload, n);
    put_frame(out, TYPE_WINDOW_UPDATE, 0, 0, payload, sizeof payload);
}

/* --- the service --- */

static struct bed *bed_now;
static struct edge_answer refusal;

static const struct edge_answer *answer(void *arg, const struct edge_call *call) {
    (void)arg;
    return get_u32(call->message) % 2 == 0 ? &refusal : NULL;
}

static void on_answered(void *arg, uint64_t tag, int64_t n) {
    (void)arg, (void)tag;
    bed_now->n_refused += (int)n;
}

static struct edge_taken *take(void *arg, const struct edge_call *call) {
    (void)arg;
    if (get_u32(call->message) % 4 != 1 || bed_now->n_calls == BED_TAKEN_MAX)
        return NULL;
    return &bed_now->calls[bed_now->n_calls++].taken;
}

static void begin(void *arg, struct edge_taken *taken, const struct edge_call *call) {
    (void)arg, (void)taken, (void)call;
}

static void keep(struct edge_taken *taken) {
    ((struct bed_call *)taken)->n_kept++;
}

static void on_gone(struct edge_taken *taken) {
    ((struct bed_call *)taken)->n_gone++;
}

void bed_open_door(void) {
    static const struct edge_header headers[] = {{"content-type", "application/grpc"}, {"grpc-status", "9"}};
    static const struct edge_early early = {
        .path = BED_PATH,
        .answer = answer,
        .on_answered = on_answered,
        .answer_bytes = BED_ANSWER_BYTES,
        .taken_max = BED_TAKEN_MAX,
        .take = take,
        .begin = begin,
        .keep = keep,
        .on_gone = on_gone,
    };
    cr_assert(edge_answer_make(&refusal, headers, 2));
    doorstep_open(BED_PORT, &early, 8192);
}

bool bed_answers(struct bed_call *call, size_t len) {
    static const struct edge_header error[] = {{"content-type", "application/grpc"}, {"grpc-status", "9"}};
    uint8_t *message = memory_new(len + 1, 1);
    struct edge_reply reply = {.head = error, .n_head = 2};
    if (len > 0) {
        put_u32(message + 1, (uint32_t)(len - PREFIX_LEN));
        reply = (struct edge_reply){.message = message, .len = len};
    }
    bool is_given = edge_taken_answer(&call->taken, &reply);
    free(message);
    return is_given;
}

/* --- the connection --- */

void core_begins(struct cork *cork, int fd) {
    uint8_t settings[HEADER_LEN];
    put_frame_header(settings, 0, TYPE_SETTINGS, 0, 0);
    struct iovec piece = {settings, sizeof settings};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    cork_send(cork, fd, &message, 0);
}

struct bed *bed_new(void) {
    struct bed *bed = bed_now = memory_new(1, sizeof *bed);
    bed_open_door();
    bed->cork.follows = true;
    bed->doorstep = doorstep_new(BED_PORT, NULL);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, bed->fds), 0);
    core_begins(&bed->cork, bed->fds[0]);
    put(&bed->out, PREFACE, PREFACE_LEN);
    put_frame(&bed->out, TYPE_SETTINGS, 0, 0, "", 0);
    return bed;
}

void bed_free(struct bed *bed) {
    doorstep_part(bed->doorstep, &bed->cork, bed->fds[0]);
    cork_close(&bed->cork, bed->fds[0]);
    close(bed->fds[0]);
    close(bed->fds[1]);
    doorstep_free(bed->doorstep);
    doorstep_forget(BED_PORT);
    free(bed);
}

bool bed_sends(struct bed *bed) {
    uint8_t buffer[BED_BUFFER_BYTES];
    struct iovec piece = {buffer, sizeof buffer};
    struct msghdr got = {.msg_iov = &piece, .msg_iovlen = 1};
    struct doorstep_room room = {.pieces = &piece, .n = 1};
    cr_assert_leq(bed->out.len, sizeof buffer);
    memcpy(buffer, bed->out.bytes, bed->out.len);
    bool is_fine = doorstep_take(bed->doorstep, &bed->cork, bed->fds[0], &got, bed->out.len, &room);
    bed->out.len = 0;
    memcpy(bed->core + bed->core_len, buffer, room.total);
    bed->core_len += room.total;
    while (doorstep_has_more(bed->doorstep)) {
        room = (struct doorstep_room){.pieces = &(struct iovec){bed->core + bed->core_len, BYTES_MAX - bed->core_len},
                                      .n = 1};
        cr_assert_lt(bed->core_len, BYTES_MAX, "the core gets too much");
        doorstep_give(bed->doorstep, &room);
        bed->core_len += room.total;
    }
    return is_fine;
}

bool core_has(const struct bed *bed, enum http2_type type, uint32_t stream) {
    for (size_t at = PREFACE_LEN; at + HEADER_LEN <= bed->core_len; at += HEADER_LEN + (get_u32(bed->core + at) >> 8))
        if (bed->core[at + TYPE_AT] == type && get_u32(bed->core + at + STREAM_AT) == stream)
            return true;
    return false;
}

size_t bed_reads(struct bed *bed, uint8_t *room, size_t size) {
    size_t len = 0;
    for (ssize_t n; len < size && (n = recv(bed->fds[1], room + len, size - len, MSG_DONTWAIT)) > 0;)
        len += (size_t)n;
    return len;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are taken on the doorstep: their window, their answers, and clients that do not wait. nghttp2 reads the
 * header blocks. */
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>

#include "doorstep_bed.h"
#include "edge/doorstep/pass.h"
#include "edge/doorstep/reply.h"

#define TAKEN       1 /* numbers of requests that are taken, or refused */
#define REFUSED     2
#define CORE_STREAM 1001
#define AT_ONCE     8 /* calls that may be answered together */

/* The client grants enough for calls to be taken. */
static struct bed *bed_with_window(void) {
    struct bed *bed = bed_new();
    put_grant(&bed->out, 1 << 20);
    return bed;
}

static void put_publish(struct written *out, uint32_t stream, uint32_t number) {
    put_headers(out, stream, BED_PATH);
    put_request(out, stream, number);
}

static void core_sends(struct bed *bed, const uint8_t *bytes, size_t len) {
    struct iovec piece = {(void *)(uintptr_t)bytes, len};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    cr_assert_eq(cork_send(&bed->cork, bed->fds[0], &message, 0), (ssize_t)len);
}

/* What the client reads, frame by frame. */
struct reader {
    uint8_t bytes[1 << 16];
    size_t len, at;
    const uint8_t *payload;
    size_t payload_len;
    int type, flags;
    uint32_t stream;
};

static void reader_init(struct reader *reader, struct bed *bed) {
    reader->len = bed_reads(bed, reader->bytes, sizeof reader->bytes);
    reader->at = 0;
}

static bool reader_next(struct reader *reader) {
    if (reader->at == reader->len)
        return false;
    const uint8_t *header = reader->bytes + reader->at;
    cr_assert_geq(reader->len - reader->at, HEADER_LEN);
    reader->payload = header + HEADER_LEN;
    reader->payload_len = get_u32(header) >> 8;
    reader->type = header[TYPE_AT];
    reader->flags = header[FLAGS_AT];
    reader->stream = get_u32(header + STREAM_AT);
    reader->at += HEADER_LEN + reader->payload_len;
    cr_assert_leq(reader->at, reader->len);
    return true;
}

static void expect_frame(struct reader *reader, int type, uint32_t stream) {
    cr_assert(reader_next(reader), "type %d of stream %u is missing", type, stream);
    cr_assert(reader->type == type && reader->stream == stream, "type %d of stream %u, not %d of %u", reader->type,
              reader->stream, type, stream);
}

/* --- answers --- */

Test(doorstep_taken, message_comes_between_headers_and_trailers) {
    struct bed *bed = bed_with_window();
    static struct reader reader;
    put_publish(&bed->out, 1, TAKEN);
    cr_assert(bed_sends(bed));
    cr_assert_eq(bed->n_calls, 1);
    cr_assert_not(core_has(bed, TYPE_HEADERS, 1) || core_has(bed, TYPE_DATA, 1));
    cr_assert(bed_answers(&bed->calls[0], 100));
    reader_init(&reader, bed);
    expect_frame(&reader, TYPE_SETTINGS, 0);
    expect_frame(&reader, TYPE_HEADERS, 1);
    expect_frame(&reader, TYPE_DATA, 1);
    cr_assert_eq(reader.payload_len, 100);
    expect_frame(&reader, TYPE_HEADERS, 1);
    cr_assert_eq(reader.flags, FLAG_END_HEADERS | FLAG_END_STREAM);
    cr_assert_not(reader_next(&reader));
    bed_free(bed);
}

Test(doorstep_taken, answers_come_behind_the_frame_that_the_core_has_begun) {
    struct bed *bed = bed_with_window();
    static struct reader reader;
    uint8_t frame[HEADER_LEN + 50] = {0};
    put_publish(&bed->out, 1, TAKEN);
    put_publish(&bed->out, 3, TAKEN);
    cr_assert(bed_sends(bed));
    put_frame_header(frame, 50, TYPE_DATA, 0, CORE_STREAM);
    core_sends(bed, frame, 20);
    cr_assert(bed_answers(&bed->calls[1], 0));
    cr_assert(bed_answers(&bed->calls[0], 100));
    core_sends(bed, frame + 20, sizeof frame - 20);
    reader_init(&reader, bed);
    expect_frame(&reader, TYPE_SETTINGS, 0);
    expect_frame(&reader, TYPE_DATA, CORE_STREAM);
    expect_frame(&reader, TYPE_HEADERS, 3);
    expect_frame(&reader, TYPE_HEADERS, 1);
    expect_frame(&reader, TYPE_DATA, 1);
    expect_frame(&reader, TYPE_HEADERS, 1);
    cr_assert_not(reader_next(&reader));
    bed_free(bed);
}

/* The answer may be as much longer than the request as is promised, so that long requests get long answers. */
Test(doorstep_taken, call_whose_answer_would_not_fit_goes_to_the_core) {
    struct bed *bed = bed_with_window();
    static uint8_t message[BED_BUFFER_BYTES - 220];
    size_t len = sizeof message;
    for (uint32_t stream = 1; len + BED_ANSWER_BYTES > REPLY_MESSAGE_MAX - 100; stream += 2, len -= 10) {
        int before = bed->n_calls;
        put_u32(message + 1, (uint32_t)(len - PREFIX_LEN));
        put_u32(message + PREFIX_LEN, TAKEN);
        put_headers(&bed->out, stream, BED_PATH);
        put_frame(&bed->out, TYPE_DATA, FLAG_END_STREAM, stream, message, len);
        cr_assert(bed_sends(bed));
        size_t most = BED_ANSWER_BYTES + len - PREFIX_LEN;
        cr_assert_eq(bed->n_calls - before, most <= REPLY_MESSAGE_MAX, "%zu bytes", most);
        if (bed->n_calls > before)
            cr_assert(bed_answers(&bed->calls[before], most));
    }
    cr_assert_gt(bed->n_calls, 5);
    cr_assert(core_has(bed, TYPE_HEADERS, 1) && core_has(bed, TYPE_DATA, 1));
    bed_free(bed);
}

/* --- windows --- */

Test(doorstep_taken, client_gets_back_the_window_of_its_requests) {
    struct bed *bed = bed_with_window();
    static struct reader reader;
    static uint8_t message[1000];
    uint32_t stream = 1, credit = 0, sent = 0;
    put_u32(message + 1, sizeof message - PREFIX_LEN);
    put_u32(message + PREFIX_LEN, TAKEN);
    for (; stream < 2 * 40; stream += 2) {
        put_headers(&bed->out, stream, BED_PATH);
        put_frame(&bed->out, TYPE_DATA, FLAG_END_STREAM, stream, message, sizeof message);
        cr_assert(bed_sends(bed));
        sent += sizeof message;
        reader_init(&reader, bed);
        while (reader_next(&reader))
            credit += reader.type == TYPE_WINDOW_UPDATE ? get_u32(reader.payload) : 0;
        cr_assert_eq(bed->cork.len, 0, "bytes are left that nobody will send");
    }
    cr_assert_eq(bed->n_calls, 40);
    cr_assert(credit > sent / 2 && credit <= sent, "%u of %u", credit, sent);
    bed_free(bed);
}

Test(doorstep_taken, client_that_has_not_granted_more_is_answered_by_the_core) {
    struct bed *bed = bed_new();
    put_publish(&bed->out, 1, TAKEN);
    cr_assert(bed_sends(bed));
    cr_assert_eq(bed->n_calls, 0);
    cr_assert(core_has(bed, TYPE_HEADERS, 1) && core_has(bed, TYPE_DATA, 1));
    bed_free(bed);
}

Test(doorstep_taken, client_whose_streams_have_a_small_window_is_answered_by_the_core) {
    struct bed *bed = bed_with_window();
    static const uint8_t small[] = {0, 4, 0, 0, 0x10, 0};
    put_frame(&bed->out, TYPE_SETTINGS, 0, 0, small, sizeof small);
    put_publish(&bed->out, 1, TAKEN);
    cr_assert(bed_sends(bed));
    cr_assert_eq(bed->n_calls, 0);
    bed_free(bed);
}

/* --- the client's table --- */

static void inflate(nghttp2_hd_inflater *inflater, const struct reader *reader) {
    const uint8_t *at = reader->payload, *end = at + reader->payload_len;
    for (int flags = 0; !(flags & NGHTTP2_HD_INFLATE_FINAL);) {
        nghttp2_nv field;
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, at, (size_t)(end - at), 1);
        cr_assert_geq(used, 0, "the block of stream %u is wrong", reader->stream);
        at += used;
    }
    nghttp2_hd_inflate_end_headers(inflater);
}

/* A client may keep less of its table at any time. The next block that it gets has to say that the server knows. */
Test(doorstep_taken, client_that_makes_its_table_smaller_amid_calls_can_read_the_answers) {
    struct bed *bed = bed_with_window();
    static struct reader reader;
    static const uint8_t core_block[] = {0, 0, 2, TYPE_HEADERS, FLAG_END_HEADERS, 0, 0, 3, 0xe9, 0x20, 0x88};
    static const uint8_t smaller_table[] = {0, 1, 0, 0, 0, 100};
    static const uint8_t ack[HEADER_LEN] = {0, 0, 0, TYPE_SETTINGS, FLAG_ACK};
    nghttp2_hd_inflater *inflater;
    nghttp2_hd_inflate_new(&inflater);
    core_sends(bed, core_block, sizeof core_block);
    put_publish(&bed->out, 1, TAKEN);
    put_publish(&bed->out, 3, TAKEN);
    put_publish(&bed->out, 5, REFUSED);
    cr_assert(bed_sends(bed));
    cr_assert(bed_answers(&bed->calls[0], 50));
    reader_init(&reader, bed);
    while (reader_next(&reader))
        if (reader.type == TYPE_HEADERS)
            inflate(inflater, &reader);
    put_frame(&bed->out, TYPE_SETTINGS, 0, 0, smaller_table, sizeof smaller_table);
    cr_assert(bed_sends(bed));
    core_sends(bed, ack, sizeof ack);
    nghttp2_hd_inflate_change_table_size(inflater, 100);
    cr_assert(bed_answers(&bed->calls[1], 50));
    put_publish(&bed->out, 7, REFUSED);
    put_publish(&bed->out, 9, TAKEN);
    cr_assert(bed_sends(bed));
    cr_assert(bed_answers(&bed->calls[2], 0));
    reader_init(&reader, bed);
    int n = 0;
    while (reader_next(&reader))
        if (reader.type == TYPE_HEADERS) {
            inflate(inflater, &reader);
            n++;
        }
    cr_assert_eq(n, 4);
    nghttp2_hd_inflate_del(inflater);
    bed_free(bed);
}

/* --- clients that do not wait --- */

Test(doorstep_taken, reset_stream_gets_no_answer) {
    struct bed *bed = bed_with_window();
    static struct reader reader;
    static const uint8_t code[4] = {0, 0, 0, 8};
    put_publish(&bed->out, 1, TAKEN);
    put_publish(&bed->out, 3, TAKEN);
    put_frame(&bed->out, TYPE_RST_STREAM, 0, 1, code, sizeof code);
    cr_assert(bed_sends(bed));
    cr_assert(bed->calls[0].n_kept == 1 && bed->calls[0].n_gone == 1);
    cr_assert(bed->calls[1].n_kept == 0 && bed->calls[1].n_gone == 0);
    cr_assert_not(core_has(bed, TYPE_RST_STREAM, 1));
    cr_assert_not(bed_answers(&bed->calls[0], 100));
    cr_assert(bed_answers(&bed->calls[1], 100));
    put_frame(&bed->out, TYPE_RST_STREAM, 0, 3, code, sizeof code); /* it crosses the answer */
    cr_assert(bed_sends(bed));
    cr_assert_eq(bed->calls[1].n_gone, 0);
    reader_init(&reader, bed);
    while (reader_next(&reader))
        cr_assert_neq(reader.stream, 1);
    bed_free(bed);
}

/* The descriptor, and with it the cork, belongs to the next client by then. */
Test(doorstep_taken, answer_to_a_client_that_has_left_does_not_reach_the_next_one) {
    struct bed *bed = bed_with_window();
    static struct reader reader;
    put_publish(&bed->out, 1, TAKEN);
    cr_assert(bed_sends(bed));
    doorstep_part(bed->doorstep, &bed->cork, bed->fds[0]);
    cork_close(&bed->cork, bed->fds[0]);
    doorstep_free(bed->doorstep);
    cr_assert_eq(bed->calls[0].n_gone, 1);
    bed->doorstep = doorstep_new(BED_PORT, NULL);
    bed->cork.follows = true;
    core_begins(&bed->cork, bed->fds[0]);
    put(&bed->out, PREFACE, PREFACE_LEN);
    put_grant(&bed->out, 1 << 20);
    put_publish(&bed->out, 1, TAKEN);
    cr_assert(bed_sends(bed));
    cr_assert_eq(bed->n_calls, 2);
    cr_assert_not(bed_answers(&bed->calls[0], 100));
    reader_init(&reader, bed);
    while (reader_next(&reader))
        cr_assert_eq(reader.type, TYPE_SETTINGS);
    cr_assert(bed_answers(&bed->calls[1], 100));
    bed_free(bed);
}

/* --- threads --- */

struct crowd {
    struct bed *bed;
    atomic_int n_ready, n_done; /* calls that may be answered, that were */
    atomic_int n_turns;         /* frames that the core may have sent */
    atomic_bool ends;
    pthread_mutex_t core_frame; /* held by the core amid a frame: calls that come then are the core's */
    bool is_given[BED_TAKEN_MAX];
};

static void *answer_all(void *arg) {
    struct crowd *crowd = arg;
    for (int i = 0; !atomic_load(&crowd->ends);) {
        if (i == atomic_load(&crowd->n_ready)) {
            sched_yield();
            continue;
        }
        crowd->is_given[i] = bed_answers(&crowd->bed->calls[i], i % 3 == 0 ? 0 : 20 + (size_t)i % 50);
        atomic_store(&crowd->n_done, ++i);
    }
    return NULL;
}

static void *send_as_core(void *arg) {
    struct crowd *crowd = arg;
    uint8_t frame[HEADER_LEN + 50] = {0};
    put_frame_header(frame, 50, TYPE_DATA, 0, CORE_STREAM);
    for (int n = 0; !atomic_load(&crowd->ends);) {
        int turn = atomic_load(&crowd->n_turns);
        if (n == turn) { /* the client has yet to read the last one */
            sched_yield();
            continue;
        }
        n = turn; /* without those missed: more than the socket takes would keep the client waiting for the lock */
        pthread_mutex_lock(&crowd->core_frame);
        core_sends(crowd->bed, frame, 20);
        sched_yield();
        core_sends(crowd->bed, frame + 20, sizeof frame - 20);
        pthread_mutex_unlock(&crowd->core_frame);
    }
    return NULL;
}

/* Reads whole frames, and keeps the rest. Counts the ends of streams. */
static void read_some(struct bed *bed, struct reader *reader, int *n_ends) {
    size_t left = reader->len - reader->at;
    memmove(reader->bytes, reader->bytes + reader->at, left);
    reader->at = 0;
    reader->len = left + bed_reads(bed, reader->bytes + left, sizeof reader->bytes - left);
    while (reader->len - reader->at >= HEADER_LEN &&
           reader->len - reader->at - HEADER_LEN >= get_u32(reader->bytes + reader->at) >> 8) {
        cr_assert(reader_next(reader));
        cr_assert(reader->type == TYPE_DATA || reader->type == TYPE_HEADERS || reader->type == TYPE_SETTINGS, "type %d",
                  reader->type);
        if (reader->stream != CORE_STREAM && reader->stream != 0 && (reader->flags & FLAG_END_STREAM))
            n_ends[reader->stream / 2]++;
    }
}

Test(doorstep_taken, each_call_is_answered_once_while_threads_answer_send_and_reset) {
    static struct reader reader;
    static int n_ends[BED_TAKEN_MAX];
    static const uint8_t code[4] = {0, 0, 0, 8};
    struct crowd crowd = {.bed = bed_with_window(), .core_frame = PTHREAD_MUTEX_INITIALIZER};
    struct bed *bed = crowd.bed;
    pthread_t answerer, core;
    cr_assert(bed_sends(bed));
    cr_assert_eq(pthread_create(&answerer, NULL, answer_all, &crowd), 0);
    cr_assert_eq(pthread_create(&core, NULL, send_as_core, &crowd), 0);
    for (uint32_t stream = 1; stream < 2 * BED_TAKEN_MAX; stream += 2) {
        put_publish(&bed->out, stream, TAKEN);
        pthread_mutex_lock(&crowd.core_frame);
        cr_assert(bed_sends(bed));
        pthread_mutex_unlock(&crowd.core_frame);
        read_some(bed, &reader, n_ends);
        atomic_fetch_add(&crowd.n_turns, 1);
        if (stream / 2 % AT_ONCE != AT_ONCE - 1)
            continue;
        atomic_store(&crowd.n_ready, bed->n_calls);
        put_frame(&bed->out, TYPE_RST_STREAM, 0, stream, code, sizeof code);
        put_frame(&bed->out, TYPE_RST_STREAM, 0, stream - 2 * AT_ONCE / 2, code, sizeof code);
        cr_assert(bed_sends(bed));
    }
    int n = bed->n_calls;
    atomic_store(&crowd.n_ready, n);
    while (atomic_load(&crowd.n_done) < n)
        read_some(bed, &reader, n_ends);
    atomic_store(&crowd.ends, true);
    pthread_join(answerer, NULL);
    pthread_join(core, NULL);
    read_some(bed, &reader, n_ends);
    cr_assert_eq(n, BED_TAKEN_MAX);
    for (int i = 0; i < n; i++) {
        const struct bed_call *call = &bed->calls[i];
        cr_assert_eq(crowd.is_given[i] + call->n_gone, 1, "call %d", i);
        cr_assert_eq(n_ends[call->taken.stream / 2], crowd.is_given[i], "call %d", i);
    }
    bed_free(bed);
}

/* --- odd requests --- */

/* Fields before and after those of a usual call. */
Test(doorstep_taken, call_with_odd_pseudo_headers_goes_to_the_core) {
    static const struct hpack_text odd[][2] = {
        {{":path", 5}, {BED_PATH, sizeof BED_PATH - 1}}, {{":odd", 4}, {"1", 1}}, {{":method", 7}, {"POST", 4}}};
    struct bed *bed = bed_with_window();
    for (uint32_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        uint8_t block[512], *end = put_call(block, block + sizeof block, false, BED_PATH);
        end = hpack_put_literal(end, block + sizeof block, false, odd[i][0], odd[i][1]);
        put_frame(&bed->out, TYPE_HEADERS, FLAG_END_HEADERS, 2 * i + 1, block, (size_t)(end - block));
        put_request(&bed->out, 2 * i + 1, TAKEN);
        cr_assert(bed_sends(bed));
        cr_assert(core_has(bed, TYPE_HEADERS, 2 * i + 1), "header %u", i);
    }
    cr_assert_eq(bed->n_calls, 0);
    bed_free(bed);
}

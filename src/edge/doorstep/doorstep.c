/* SPDX-License-Identifier: Apache-2.0 */
/* The doorstep: what a client sends comes by here on its way to the core. A call that is answered here is taken out of
 * the client's bytes, and its answer put between the frames that the core sends. The core never hears of it.
 *
 *   call      HEADERS of the method with DATA to the end of the stream, all of which has come
 *   tail      bytes that are kept until the frame or call that they begin is complete
 *   awaited   streams that were answered although frames of others stand between their HEADERS and DATA
 *   credit    bytes of DATA that the core has not seen, which the client gets back by WINDOW_UPDATE
 *   taken     a call that its service answers later
 *
 * The core sees a connection on which these calls were not made:
 *
 * - Streams have rising numbers, so no HEADERS overtake others.
 * - A header block may change the tables by which later ones are read. hpack.c reads each block. From the time when the
 *   core has missed a change, it writes the blocks anew.
 * - Frames about a stream that the core does not know (RST_STREAM, WINDOW_UPDATE) are taken out as well.
 *
 * Unusual calls go to the core: with padding, several messages, compression, or headers that are not as expected, on a
 * connection that is about to end, or of a client that does not read. Connections with TLS have no doorstep.
 *
 *   calls.c   header blocks, and the calls that are answered or taken
 *   taken.c   taken calls, and the window for their answers
 *   pass.c    the way to the core
 *   hpack.c   reads and writes header blocks
 *   reply.c   writes the answers */
#include "edge/doorstep/doorstep.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "edge/doorstep/pass.h"

#define SETTING_LEN        6
#define SETTING_TABLE_SIZE 1
#define SETTING_WINDOW     4
#define STREAM_WINDOW_MIN  16384 /* more than an answer has: REPLY_MESSAGE_MAX */
#define WINDOW_UPDATE_LEN  4
#define DOORS_MAX          64 /* servers of the process that answer early */
#define CREDIT_MIN         8192
/* Bytes that wait for the core after one read. Written anew, an honest client's blocks grow little; but one byte may
 * stand for a header of 4 KB. */
#define MORE_MAX (2 * INPUT_MAX)

static struct door doors[DOORS_MAX];

/* --- doors --- */

void doorstep_open(int port, const struct edge_early *early, size_t max_metadata_bytes) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < DOORS_MAX; i++)
        if (atomic_load(&doors[i].port) == 0) {
            doors[i].early = *early;
            doors[i].path_len = strlen(early->path);
            doors[i].max_metadata_bytes = max_metadata_bytes;
            atomic_store(&doors[i].port, port);
            break;
        }
    pthread_mutex_unlock(&lock);
}

static struct door *door_of(int port) {
    for (int i = 0; i < DOORS_MAX; i++)
        if (atomic_load(&doors[i].port) == port)
            return &doors[i];
    return NULL;
}

/* Enters the door; false: it was closed. */
static bool enter(struct doorstep *doorstep) {
    atomic_fetch_add(&doorstep->door->n_inside, 1);
    if (atomic_load(&doorstep->door->port) == doorstep->port)
        return true;
    atomic_fetch_sub(&doorstep->door->n_inside, 1);
    return false;
}

static void leave(struct doorstep *doorstep) {
    atomic_fetch_sub(&doorstep->door->n_inside, 1);
}

void doorstep_forget(int port) {
    struct door *door = door_of(port);
    if (!door)
        return;
    atomic_store(&door->port, -1);
    while (atomic_load(&door->n_inside) > 0)
        clock_sleep_us(US_PER_MS);
    atomic_store(&door->port, 0);
}

struct doorstep *doorstep_new(int port, struct frames *frames) {
    struct door *door = port > 0 ? door_of(port) : NULL;
    if (!door)
        return NULL;
    struct doorstep *doorstep = memory_new(1, sizeof *doorstep);
    doorstep->door = door;
    doorstep->port = port;
    doorstep->frames = frames;
    doorstep->preface_left = PREFACE_LEN;
    return doorstep;
}

void doorstep_free(struct doorstep *doorstep) {
    if (!doorstep)
        return;
    hpack_table_free(doorstep->table);
    forget_reading(&doorstep->reading);
    free(doorstep->taken);
    free(doorstep->tail);
    free(doorstep->more);
    free(doorstep);
}

/* --- other frames --- */

/* A frame of DATA that was answered. False: the frame is the core's. */
static bool drop_data(struct pass *pass, const struct frame *frame) {
    struct doorstep *doorstep = pass->doorstep;
    for (size_t i = 0; i < doorstep->n_awaited; i++)
        if (doorstep->awaited[i] == frame->stream) {
            doorstep->credit += (uint32_t)frame->len;
            pass->at += frame->size;
            if (frame->flags & FLAG_END_STREAM)
                doorstep->awaited[i] = doorstep->awaited[--doorstep->n_awaited];
            return true;
        }
    return false;
}

/* Whether the frame is about a stream that was answered, and that the core has not heard of. One that is not whole is
 * larger than HTTP/2 allows; the core ends the connection. */
static bool is_unknown(const struct doorstep *doorstep, const struct frame *frame) {
    return frame->is_whole && (frame->type == TYPE_RST_STREAM || frame->type == TYPE_WINDOW_UPDATE) &&
           frame->stream > doorstep->core_stream && frame->stream <= doorstep->answered_stream;
}

static void note_settings(struct doorstep *doorstep, const struct frame *frame) {
    for (size_t at = 0; at + SETTING_LEN <= frame->len && !(frame->flags & FLAG_ACK); at += SETTING_LEN) {
        int setting = frame->payload[at] << 8 | frame->payload[at + 1];
        uint32_t value = get_u32(frame->payload + at + 2);
        if (setting == SETTING_TABLE_SIZE && value < HPACK_TABLE_BYTES)
            atomic_store(&doorstep->has_less_table, true);
        if (setting == SETTING_WINDOW)
            doorstep->has_small_window = value < STREAM_WINDOW_MIN;
    }
}

/* The core hears of less of the connection's window. */
static void pass_grant(struct pass *pass, const struct frame *frame) {
    uint32_t n = get_u32(frame->payload) & 0x7fffffff;
    uint64_t core_bytes = atomic_load_explicit(&pass->cork->outgoing.data_bytes, memory_order_relaxed);
    bool keeps = pass->is_inside && pass->doorstep->door->early.answer_bytes > 0;
    uint32_t for_core = n > 0 ? window_grant(pass->doorstep, n, core_bytes, keeps) : 0;
    uint8_t changed[HEADER_LEN + WINDOW_UPDATE_LEN];
    memcpy(changed, pass->in + pass->at, sizeof changed);
    put_u32(changed + HEADER_LEN, for_core);
    if (n == 0 || for_core > 0)
        pass_give(pass, changed, sizeof changed);
    pass->at += frame->size;
}

/* The stream's call may have been taken. */
static void note_reset(struct pass *pass, const struct frame *frame) {
    if (pass->has_cork)
        cork_shut(pass->cork, pass->fd);
    pass->has_cork = false;
    taken_reset(pass->doorstep, pass->cork, pass->fd, frame->stream);
}

static enum step take_other(struct pass *pass, const struct frame *frame) {
    struct doorstep *doorstep = pass->doorstep;
    bool is_data = frame->type == TYPE_DATA;
    if (is_data && drop_data(pass, frame))
        return STEP_ON;
    bool is_read = frame->type == TYPE_SETTINGS || frame->type == TYPE_RST_STREAM || frame->type == TYPE_WINDOW_UPDATE;
    if (is_read && !frame->is_whole && frame->len <= FRAME_LEN_MAX)
        return STEP_WAIT;
    if (frame->type == TYPE_SETTINGS && frame->is_whole)
        note_settings(doorstep, frame);
    if (frame->type == TYPE_RST_STREAM && frame->is_whole)
        note_reset(pass, frame);
    if (frame->type == TYPE_WINDOW_UPDATE && frame->stream == 0 && frame->len == WINDOW_UPDATE_LEN) {
        pass_grant(pass, frame);
        return STEP_ON;
    }
    if (is_unknown(doorstep, frame)) {
        pass->at += frame->size;
        return STEP_ON;
    }
    pass_give(pass, pass->in + pass->at, HEADER_LEN);
    pass->at += HEADER_LEN;
    doorstep->pass_left = (uint32_t)frame->len;
    return STEP_ON;
}

/* --- all of it --- */

/* The connection's bytes go to the core as they are from now on. False: the core could not read them. */
static bool turn_off(struct doorstep *doorstep) {
    doorstep->is_off = true;
    return !doorstep->table || hpack_is_same(doorstep->table);
}

static void take_preface(struct pass *pass) {
    struct doorstep *doorstep = pass->doorstep;
    size_t n = smaller(doorstep->preface_left, pass->len - pass->at);
    if (memcmp(pass->in + pass->at, PREFACE + PREFACE_LEN - doorstep->preface_left, n) != 0)
        turn_off(doorstep);
    pass_give(pass, pass->in + pass->at, n);
    doorstep->preface_left -= (uint8_t)n;
    pass->at += n;
}

static enum step take_next(struct pass *pass) {
    struct doorstep *doorstep = pass->doorstep;
    struct frame frame;
    if (doorstep->preface_left > 0 && !doorstep->is_off) {
        take_preface(pass);
        return STEP_ON;
    }
    if (doorstep->is_off || doorstep->pass_left > 0) {
        size_t left = pass->len - pass->at, n = doorstep->is_off ? left : smaller(doorstep->pass_left, left);
        pass_give(pass, pass->in + pass->at, n);
        doorstep->pass_left -= doorstep->is_off ? 0 : (uint32_t)n;
        pass->at += n;
        return STEP_ON;
    }
    if (!frame_at(pass, pass->at, &frame))
        return STEP_WAIT;
    return frame.type == TYPE_HEADERS ? take_headers(pass, &frame) : take_other(pass, &frame);
}

/* Gives the client back the room that requests took, which the core has not seen. */
static void give_credit(struct pass *pass) {
    uint8_t frame[REPLY_CREDIT_BYTES];
    if (pass->doorstep->credit < CREDIT_MIN)
        return;
    if (!pass->has_cork)
        (void)cork_open(pass->cork, pass->fd);
    pass->has_cork = true;
    cork_put_soon(pass->cork, frame, reply_write_credit(pass->doorstep->credit, frame));
    pass->doorstep->credit = 0;
}

static void keep_tail(struct doorstep *doorstep, const uint8_t *bytes, size_t len) {
    free(doorstep->tail);
    doorstep->tail = len > 0 ? memory_new(len, 1) : NULL;
    if (len > 0)
        memcpy(doorstep->tail, bytes, len);
    doorstep->tail_len = len;
}

/* Puts the tail and what was read one behind the other. Returns the length; 0: there is too much of it. */
static size_t assemble(const struct doorstep *doorstep, const struct msghdr *got, size_t len, uint8_t *room) {
    size_t at = doorstep->tail_len;
    if (at + len > INPUT_MAX)
        return 0;
    if (at > 0)
        memcpy(room, doorstep->tail, at);
    for (size_t i = 0; i < got->msg_iovlen && len > 0; i++) {
        size_t n = smaller(got->msg_iov[i].iov_len, len);
        memcpy(room + at, got->msg_iov[i].iov_base, n);
        at += n;
        len -= n;
    }
    return at;
}

bool doorstep_take(struct doorstep *doorstep, struct cork *cork, int fd, const struct msghdr *got, size_t len,
                   struct doorstep_room *room) {
    struct scratch *scratch = scratch_of_thread();
    struct pass pass = {
        .doorstep = doorstep, .cork = cork, .fd = fd, .room = room, .in = scratch->input, .scratch = scratch};
    enum step step = STEP_ON;
    pass.len = assemble(doorstep, got, len, scratch->input);
    if (pass.len == 0)
        return false;
    pass.is_inside = enter(doorstep);
    while (step == STEP_ON && pass.at < pass.len) {
        step = take_next(&pass);
        if (step == STEP_WAIT && pass.len - pass.at > TAIL_MAX)
            step = STEP_WRONG;
        if (step == STEP_WRONG && turn_off(doorstep))
            step = STEP_ON;
        if (doorstep->more_len > MORE_MAX)
            step = STEP_WRONG;
    }
    keep_tail(doorstep, pass.in + pass.at, pass.len - pass.at);
    give_credit(&pass);
    if (pass.has_cork)
        cork_shut(cork, fd);
    tell_answered(&pass);
    if (pass.is_inside)
        leave(doorstep);
    return step != STEP_WRONG;
}

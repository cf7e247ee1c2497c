/* SPDX-License-Identifier: Apache-2.0 */
/* The doorstep: what a client sends comes by here on its way to the core. A call that is answered here is taken out of
 * the client's bytes, and its answer put between the frames that the core sends. The core never hears of it.
 *
 *   call      HEADERS of the method with DATA to the end of the stream, all of which has come
 *   tail      bytes that are kept until the frame or call that they begin is complete
 *   awaited   streams that were answered although frames of others stand between their HEADERS and DATA
 *   credit    bytes of DATA that the core has not seen, which the client gets back by WINDOW_UPDATE
 *
 * What the core sees is a connection on which these calls were not made:
 *
 * - Streams have rising numbers, so no HEADERS overtake others.
 * - A header block may change the tables by which later ones are read. hpack.c reads each block, and writes those that
 *   the core gets anew from when it has missed a change.
 * - Frames about a stream that the core does not know (RST_STREAM, WINDOW_UPDATE) are taken out as well.
 *
 * What is unusual is not answered here, but goes to the core: padding, several messages, compression, a method, header
 * or size that is not as expected, a connection that is about to end, a client that does not read. Connections with
 * TLS have no doorstep. */
#include "edge/doorstep.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "edge/hpack.h"
#include "edge/reply.h"

enum {
    TYPE_DATA = 0,
    TYPE_HEADERS = 1,
    TYPE_RST_STREAM = 3,
    TYPE_SETTINGS = 4,
    TYPE_WINDOW_UPDATE = 8,
    TYPE_CONTINUATION = 9,
};
enum { FLAG_END_STREAM = 0x1, FLAG_ACK = 0x1, FLAG_END_HEADERS = 0x4, FLAG_PADDED = 0x8, FLAG_PRIORITY = 0x20 };
#define HEADER_LEN         9
#define STREAM_AT          5 /* in a frame's header */
#define PRIORITY_LEN       5
#define PREFIX_LEN         5 /* of a gRPC message: whether it is compressed, and its length */
#define PREFACE_LEN        24
#define SETTING_LEN        6
#define SETTING_TABLE_SIZE 1
#define FRAME_LEN_MAX      16384 /* of what the core gets; HTTP/2's default */

#define DOORS_MAX          64 /* servers of the process that answer early */
#define AWAITED_MAX        16
#define CALL_TAIL_MAX      2048 /* bytes that are kept for a call that may be answered */
#define TAIL_MAX           (64 << 10)
#define INPUT_MAX          (TAIL_MAX + (32 << 10))
#define CREDIT_MIN         8192
/* Beyond this, a client that does not read its answers gets no more of them from here. */
#define UNREAD_MAX (64 << 10)

/* A server's port. */
struct door {
    atomic_int port; /* 0: free */
    atomic_int n_inside;
    size_t max_metadata_bytes;
    size_t path_len;
    struct edge_early early;
};

/* What is known of a header block that was read. */
struct reading {
    bool is_done;
    bool is_call; /* the call may be answered here */
    bool has_insertions;
    uint64_t first_new;
    /* Only if the tail begins with the block: */
    struct hpack_mark mark;
    uint8_t *block; /* as the core gets it; NULL: as it came */
    size_t block_len;
    char *authorization; /* NULL: there is none */
    size_t authorization_len;
};

struct doorstep {
    struct door *door;
    int port;
    struct hpack_table *table; /* NULL until a block comes */
    struct reply_table replies;
    uint8_t *tail, *more; /* more: what did not fit into the core's room */
    size_t tail_len, more_len, more_at;
    struct reading reading; /* of the block that the tail begins with */
    uint32_t credit;
    uint32_t core_stream, answered_stream; /* the newest ones */
    uint32_t pass_left;                    /* bytes of the current frame that go to the core */
    uint32_t awaited[AWAITED_MAX];
    uint8_t n_awaited;
    uint8_t preface_left;
    bool is_off;         /* the core gets everything from now on */
    bool has_less_table; /* the client keeps less of a table than the default */
};

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

struct doorstep *doorstep_new(int port) {
    struct door *door = port > 0 ? door_of(port) : NULL;
    if (!door)
        return NULL;
    struct doorstep *doorstep = memory_new(1, sizeof *doorstep);
    doorstep->door = door;
    doorstep->port = port;
    doorstep->preface_left = PREFACE_LEN;
    return doorstep;
}

static void forget_reading(struct reading *reading) {
    free(reading->block);
    free(reading->authorization);
    *reading = (struct reading){0};
}

void doorstep_free(struct doorstep *doorstep) {
    if (!doorstep)
        return;
    hpack_table_free(doorstep->table);
    forget_reading(&doorstep->reading);
    free(doorstep->tail);
    free(doorstep->more);
    free(doorstep);
}

/* --- to the core --- */

/* Memory of a thread for what it works on. */
struct scratch {
    uint8_t input[INPUT_MAX], gathered[INPUT_MAX], written[INPUT_MAX]; /* gathered: a block in several frames */
    char texts[INPUT_MAX];                                             /* of a block, unpacked */
    struct hpack_block block;
};

static pthread_key_t scratch_key;

static void make_key(void) {
    if (pthread_key_create(&scratch_key, free) != 0)
        abort(); /* the process has 1,024 of them */
}

static struct scratch *scratch_of_thread(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    struct scratch *scratch = pthread_getspecific(scratch_key);
    if (!scratch) {
        scratch = memory_new(1, sizeof *scratch);
        pthread_setspecific(scratch_key, scratch);
    }
    return scratch;
}

/* A client's bytes on their way through. */
struct pass {
    struct doorstep *doorstep;
    struct cork *cork;
    int fd;
    struct doorstep_room *room;
    const uint8_t *in;
    size_t len, at;
    struct scratch *scratch;
    bool is_inside, has_answered;
};

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t fill(struct doorstep_room *room, const uint8_t *bytes, size_t len) {
    size_t done = 0;
    while (done < len && room->at < room->n) {
        struct iovec *piece = &room->pieces[room->at];
        size_t n = piece->iov_len - room->used < len - done ? piece->iov_len - room->used : len - done;
        memcpy((uint8_t *)piece->iov_base + room->used, bytes + done, n);
        done += n;
        room->used += n;
        if (room->used == piece->iov_len) {
            room->at++;
            room->used = 0;
        }
    }
    room->total += done;
    return done;
}

static void give(struct pass *pass, const uint8_t *bytes, size_t len) {
    struct doorstep *doorstep = pass->doorstep;
    size_t done = doorstep->more_len == 0 ? fill(pass->room, bytes, len) : 0;
    if (done == len)
        return;
    doorstep->more = memory_resize(doorstep->more, doorstep->more_len + len - done, 1);
    memcpy(doorstep->more + doorstep->more_len, bytes + done, len - done);
    doorstep->more_len += len - done;
}

bool doorstep_has_more(const struct doorstep *doorstep) {
    return doorstep->more_len > 0;
}

void doorstep_give(struct doorstep *doorstep, struct doorstep_room *room) {
    doorstep->more_at += fill(room, doorstep->more + doorstep->more_at, doorstep->more_len - doorstep->more_at);
    if (doorstep->more_at < doorstep->more_len)
        return;
    free(doorstep->more);
    doorstep->more = NULL;
    doorstep->more_len = doorstep->more_at = 0;
}

/* --- frames --- */

struct frame {
    const uint8_t *payload;
    size_t len;
    size_t size; /* with its header */
    int type, flags;
    uint32_t stream;
    bool is_whole;
};

static uint32_t get_u32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The frame that begins there; false: its header is not complete. */
static bool frame_at(const struct pass *pass, size_t at, struct frame *ret_frame) {
    const uint8_t *header = pass->in + at;
    if (pass->len - at < HEADER_LEN)
        return false;
    size_t len = get_u32(header) >> 8;
    *ret_frame = (struct frame){
        .payload = header + HEADER_LEN,
        .len = len,
        .size = HEADER_LEN + len,
        .type = header[3],
        .flags = header[4],
        .stream = get_u32(header + STREAM_AT) & 0x7fffffff,
        .is_whole = pass->len - at - HEADER_LEN >= len,
    };
    return true;
}

/* --- header blocks --- */

static bool text_is(struct hpack_text text, const char *wanted, size_t len) {
    return text.len == len && memcmp(text.at, wanted, len) == 0;
}

#define IS(text, literal) text_is(text, literal, sizeof(literal) - 1)

static bool begins_with_grpc(struct hpack_text value) {
    static const char grpc[] = "application/grpc";
    return value.len >= sizeof grpc - 1 && memcmp(value.at, grpc, sizeof grpc - 1) == 0;
}

/* Whether the block is one of a call that may be answered here. */
static bool is_of_call(const struct door *door, const struct hpack_block *block, struct hpack_text *ret_authorization) {
    bool has_method = false, has_path = false, has_type = false, has_authority = false;
    size_t bytes = 0;
    *ret_authorization = (struct hpack_text){0};
    for (size_t i = 0; i < block->n; i++) {
        struct hpack_text name = block->fields[i].name, value = block->fields[i].value;
        bytes += name.len + value.len + HPACK_OVERHEAD;
        if (IS(name, ":path"))
            has_path = text_is(value, door->early.path, door->path_len);
        else if (IS(name, ":method"))
            has_method = IS(value, "POST");
        else if (IS(name, "content-type"))
            has_type = begins_with_grpc(value);
        else if (IS(name, ":authority"))
            has_authority = value.len > 0;
        else if (IS(name, "authorization") && !ret_authorization->at)
            *ret_authorization = value;
    }
    return has_method && has_path && has_type && has_authority && block->n_size_updates == 0 &&
           bytes <= door->max_metadata_bytes;
}

/* Reads a block. False: it is wrong. */
static bool read_block(struct pass *pass, const struct frame *frame, const uint8_t *bytes, size_t len,
                       struct hpack_text *ret_authorization) {
    struct doorstep *doorstep = pass->doorstep;
    struct hpack_block *block = &pass->scratch->block;
    if (!doorstep->table)
        doorstep->table = hpack_table_new();
    if (!hpack_read(doorstep->table, bytes, len, pass->scratch->texts, sizeof pass->scratch->texts, block))
        return false;
    doorstep->reading = (struct reading){
        .is_done = true,
        .is_call = !(frame->flags & FLAG_END_STREAM) && frame->stream > doorstep->core_stream &&
                   frame->stream > doorstep->answered_stream && is_of_call(doorstep->door, block, ret_authorization),
        .has_insertions = block->has_insertions,
        .first_new = block->first_new,
    };
    return true;
}

/* Writes the block that was just read as the core gets it. False: that is not possible. */
static bool write_block(struct pass *pass) {
    struct doorstep *doorstep = pass->doorstep;
    struct reading *reading = &doorstep->reading;
    if (hpack_is_same(doorstep->table))
        return true;
    reading->mark = hpack_mark(doorstep->table);
    reading->block_len = hpack_write(doorstep->table, &pass->scratch->block, pass->scratch->written, INPUT_MAX);
    if (reading->block_len == 0)
        return false;
    reading->block = memory_new(reading->block_len, 1);
    memcpy(reading->block, pass->scratch->written, reading->block_len);
    return true;
}

/* The block that was just read will be the first of the tail. */
static bool keep_reading(struct pass *pass, struct hpack_text authorization) {
    struct reading *reading = &pass->doorstep->reading;
    if (authorization.at) {
        reading->authorization = memory_new(authorization.len + 1, 1);
        memcpy(reading->authorization, authorization.at, authorization.len);
        reading->authorization_len = authorization.len;
    }
    return write_block(pass);
}

enum step { STEP_ON, STEP_WAIT, STEP_WRONG };

/* Finds the block that begins with the frame, and where the next frame begins. */
static enum step find_block(struct pass *pass, const struct frame *first, const uint8_t **ret_bytes, size_t *ret_len,
                            size_t *ret_end) {
    size_t skip = first->flags & FLAG_PRIORITY ? PRIORITY_LEN : 0, pad = 0, len;
    struct frame frame = *first;
    *ret_end = pass->at + first->size;
    if (!first->is_whole)
        return STEP_WAIT;
    if (first->flags & FLAG_PADDED) {
        skip++;
        pad = first->len > 0 ? first->payload[0] : 0;
    }
    if (first->len < skip + pad)
        return STEP_WRONG;
    *ret_bytes = first->payload + skip;
    len = first->len - skip - pad;
    if (!(first->flags & FLAG_END_HEADERS)) {
        memcpy(pass->scratch->gathered, *ret_bytes, len);
        *ret_bytes = pass->scratch->gathered;
    }
    while (!(frame.flags & FLAG_END_HEADERS)) {
        if (!frame_at(pass, *ret_end, &frame) || !frame.is_whole)
            return STEP_WAIT;
        if (frame.type != TYPE_CONTINUATION || frame.stream != first->stream)
            return STEP_WRONG;
        memcpy(pass->scratch->gathered + len, frame.payload, frame.len); /* fits: all of it is input */
        len += frame.len;
        *ret_end += frame.size;
    }
    *ret_len = len;
    return STEP_ON;
}

/* --- calls --- */

/* Looks for the whole request of a stream behind its header block. STEP_WRONG: it is not one to be answered here. */
static enum step find_request(const struct pass *pass, size_t at, uint32_t stream, struct edge_call *call) {
    struct frame frame;
    bool has_others = false;
    for (;; at += frame.size) {
        bool is_there = frame_at(pass, at, &frame), is_ours = is_there && frame.stream == stream;
        bool is_usual =
            is_there && (frame.type == TYPE_DATA || frame.type == TYPE_HEADERS || frame.type == TYPE_CONTINUATION);
        if (is_ours && (frame.type != TYPE_DATA || (frame.flags & FLAG_PADDED) || (frame.len > 0 && call->len > 0)))
            return STEP_WRONG;
        has_others |= is_there && !is_usual;
        if (!is_there || !frame.is_whole)
            return has_others || pass->len - pass->at > CALL_TAIL_MAX ? STEP_WRONG : STEP_WAIT;
        if (is_ours && frame.len > 0) {
            call->message = frame.payload;
            call->len = frame.len;
        }
        if (is_ours && (frame.flags & FLAG_END_STREAM))
            break;
    }
    if (call->len < PREFIX_LEN || call->message[0] != 0 || get_u32(call->message + 1) != call->len - PREFIX_LEN)
        return STEP_WRONG;
    call->message += PREFIX_LEN;
    call->len -= PREFIX_LEN;
    return STEP_ON;
}

/* Whether answers can be put between the core's frames. */
static bool is_open(const struct pass *pass) {
    const struct outgoing *outgoing = &pass->cork->outgoing;
    return pass->is_inside && pass->doorstep->n_awaited < AWAITED_MAX &&
           atomic_load_explicit(&outgoing->has_begun, memory_order_acquire) && !atomic_load(&outgoing->is_ending);
}

/* False: the call goes to the core. */
static bool answer(struct pass *pass, const struct edge_call *call, uint32_t stream) {
    struct doorstep *doorstep = pass->doorstep;
    const struct edge_early *early = &doorstep->door->early;
    const struct edge_answer *answer = early->answer(early->arg, call);
    if (!answer)
        return false;
    uint8_t frame[REPLY_MAX];
    struct reply_table replies = doorstep->replies; /* changes only if the frame is sent */
    const struct outgoing *outgoing = &pass->cork->outgoing;
    uint32_t n_blocks = atomic_load(&outgoing->n_blocks);
    bool may_remember = !doorstep->has_less_table && atomic_load(&outgoing->leaves_table);
    size_t len = reply_write(&replies, answer, may_remember ? n_blocks : 0, stream, frame);
    if (!cork_insert(pass->cork, pass->fd, frame, len, n_blocks, UNREAD_MAX))
        return false;
    doorstep->replies = replies;
    doorstep->answered_stream = stream;
    doorstep->awaited[doorstep->n_awaited++] = stream;
    pass->has_answered = true;
    early->on_answered(early->arg, answer);
    return true;
}

/* The block does not go to the core. */
static void withhold(struct doorstep *doorstep) {
    struct reading *reading = &doorstep->reading;
    if (reading->block)
        hpack_unwrite(doorstep->table, &reading->mark);
    else if (reading->has_insertions)
        hpack_part(doorstep->table, reading->first_new);
    forget_reading(reading);
}

/* A block of the edge's own, in as many frames as it takes. */
static void give_block(struct pass *pass, const struct frame *first, const uint8_t *block, size_t len) {
    int type = TYPE_HEADERS, flags = first->flags & FLAG_END_STREAM;
    while (len > 0) {
        size_t n = smaller(len, FRAME_LEN_MAX);
        uint8_t header[HEADER_LEN] = {
            [0] = (uint8_t)(n >> 16),
            [1] = (uint8_t)(n >> 8),
            [2] = (uint8_t)n,
            [3] = (uint8_t)type,
            [4] = (uint8_t)(flags | (n == len ? FLAG_END_HEADERS : 0)),
        };
        memcpy(header + STREAM_AT, first->payload - HEADER_LEN + STREAM_AT, HEADER_LEN - STREAM_AT);
        give(pass, header, sizeof header);
        give(pass, block, n);
        block += n;
        len -= n;
        type = TYPE_CONTINUATION;
        flags = 0;
    }
}

static void pass_block(struct pass *pass, const struct frame *frame, size_t end) {
    struct doorstep *doorstep = pass->doorstep;
    struct reading *reading = &doorstep->reading;
    doorstep->core_stream = frame->stream > doorstep->core_stream ? frame->stream : doorstep->core_stream;
    if (reading->block)
        give_block(pass, frame, reading->block, reading->block_len);
    else
        give(pass, pass->in + pass->at, end - pass->at);
    forget_reading(reading);
    pass->at = end;
}

static enum step take_headers(struct pass *pass, const struct frame *frame) {
    struct doorstep *doorstep = pass->doorstep;
    struct reading *reading = &doorstep->reading;
    struct hpack_text authorization = {reading->authorization, reading->authorization_len};
    const uint8_t *bytes;
    size_t len, end;
    enum step step = find_block(pass, frame, &bytes, &len, &end);
    bool is_new = !reading->is_done;
    if (step != STEP_ON)
        return step;
    if (is_new && !read_block(pass, frame, bytes, len, &authorization))
        return STEP_WRONG;
    if (reading->is_call && is_open(pass)) {
        struct edge_call call = {
            .authorization = authorization.at,
            .authorization_len = authorization.len,
        };
        step = find_request(pass, end, frame->stream, &call);
        if (step == STEP_ON && answer(pass, &call, frame->stream)) {
            withhold(doorstep);
            pass->at = end;
            return STEP_ON;
        }
        if (step == STEP_WAIT)
            return !is_new || keep_reading(pass, authorization) ? STEP_WAIT : STEP_WRONG;
    }
    if (is_new && !write_block(pass))
        return STEP_WRONG;
    pass_block(pass, frame, end);
    return STEP_ON;
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

/* Whether the frame is about a stream that was answered, and that the core has not heard of. */
static bool is_unknown(const struct doorstep *doorstep, const struct frame *frame) {
    return (frame->type == TYPE_RST_STREAM || frame->type == TYPE_WINDOW_UPDATE) &&
           frame->stream > doorstep->core_stream && frame->stream <= doorstep->answered_stream;
}

static void note_settings(struct doorstep *doorstep, const struct frame *frame) {
    for (size_t at = 0; at + SETTING_LEN <= frame->len && !(frame->flags & FLAG_ACK); at += SETTING_LEN)
        if (frame->payload[at] == 0 && frame->payload[at + 1] == SETTING_TABLE_SIZE &&
            get_u32(frame->payload + at + 2) < HPACK_TABLE_BYTES)
            doorstep->has_less_table = true;
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
    if (is_unknown(doorstep, frame)) {
        pass->at += frame->size;
        return STEP_ON;
    }
    give(pass, pass->in + pass->at, HEADER_LEN);
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
    static const char preface[PREFACE_LEN + 1] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct doorstep *doorstep = pass->doorstep;
    size_t n = smaller(doorstep->preface_left, pass->len - pass->at);
    if (memcmp(pass->in + pass->at, preface + PREFACE_LEN - doorstep->preface_left, n) != 0)
        turn_off(doorstep);
    give(pass, pass->in + pass->at, n);
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
        give(pass, pass->in + pass->at, n);
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
    size_t len = reply_write_credit(pass->doorstep->credit, frame);
    if (cork_insert(pass->cork, pass->fd, frame, len, UINT32_MAX, SIZE_MAX)) {
        pass->doorstep->credit = 0;
        pass->has_answered = true;
    }
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
    }
    if (pass.is_inside)
        leave(doorstep);
    keep_tail(doorstep, pass.in + pass.at, pass.len - pass.at);
    if (doorstep->credit >= CREDIT_MIN)
        give_credit(&pass);
    if (pass.has_answered)
        cork_release(cork, fd);
    return step != STEP_WRONG;
}

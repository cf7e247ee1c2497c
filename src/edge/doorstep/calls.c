/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that are answered on the doorstep; see doorstep.c. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "edge/doorstep/pass.h"

#define PRIORITY_LEN  5
#define PSEUDO_FIELDS 4 /* :method, :scheme, :path, :authority */
/* Beyond this, a client that does not read its answers gets no more of them from here. */
#define UNREAD_MAX (64 << 10)

/* --- header blocks --- */

static bool text_is(struct hpack_text text, const char *wanted, size_t len) {
    return text.len == len && memcmp(text.at, wanted, len) == 0;
}

#define IS(text, literal) text_is(text, literal, sizeof(literal) - 1)

static bool begins_with_grpc(struct hpack_text value) {
    static const char grpc[] = "application/grpc";
    return value.len >= sizeof grpc - 1 && memcmp(value.at, grpc, sizeof grpc - 1) == 0;
}

/* Whether the block has each of HTTP/2's own fields of a request once, and before the others. The core knows what to do
 * with other blocks. */
static bool has_usual_form(const struct hpack_block *block) {
    for (size_t i = 0; i < block->n; i++) {
        struct hpack_text name = block->fields[i].name;
        if ((name.len > 0 && name.at[0] == ':') != (i < PSEUDO_FIELDS))
            return false;
    }
    return block->n_size_updates == 0 && block->n <= FIELDS_MAX;
}

/* Whether the block is one of a call that may be answered here. */
static bool is_of_call(const struct door *door, const struct hpack_block *block) {
    bool has_method = false, has_path = false, has_type = false, has_authority = false, has_scheme = false;
    size_t bytes = 0;
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
        else if (IS(name, ":scheme"))
            has_scheme = true;
    }
    return has_method && has_path && has_type && has_authority && has_scheme && has_usual_form(block) &&
           bytes <= door->max_metadata_bytes;
}

/* Reads a block. False: it is wrong. */
static bool read_block(struct pass *pass, const struct frame *frame, const uint8_t *bytes, size_t len) {
    struct doorstep *doorstep = pass->doorstep;
    struct hpack_block *block = &pass->scratch->block;
    if (!doorstep->table)
        doorstep->table = hpack_table_new();
    if (!hpack_read(doorstep->table, bytes, len, pass->scratch->texts, sizeof pass->scratch->texts, block))
        return false;
    doorstep->reading = (struct reading){
        .is_done = true,
        .is_call = pass->is_inside && !(frame->flags & FLAG_END_STREAM) && frame->stream > doorstep->core_stream &&
                   frame->stream > doorstep->answered_stream && is_of_call(doorstep->door, block),
        .has_insertions = block->has_insertions,
        .first_new = block->first_new,
    };
    return true;
}

/* Writes the block that was just read as the core gets it. False: that is not possible. */
static bool write_block(struct pass *pass) {
    struct doorstep *doorstep = pass->doorstep;
    struct reading *reading = &doorstep->reading;
    if (hpack_is_same(doorstep->table) || pass->scratch->block.n + pass->scratch->block.n_size_updates == 0)
        return true;
    reading->mark = hpack_mark(doorstep->table);
    reading->block_len = hpack_write(doorstep->table, &pass->scratch->block, pass->scratch->written, INPUT_MAX);
    if (reading->block_len == 0)
        return false;
    reading->block = memory_new(reading->block_len, 1);
    memcpy(reading->block, pass->scratch->written, reading->block_len);
    return true;
}

/* The headers of the block that was just read. */
static void list_fields(struct scratch *scratch, struct edge_call *call) {
    const struct hpack_block *block = &scratch->block;
    for (size_t i = 0; i < block->n; i++) {
        struct hpack_text name = block->fields[i].name, value = block->fields[i].value;
        scratch->fields[i] = (struct edge_field){name.at, value.at, name.len, value.len};
    }
    call->fields = scratch->fields;
    call->n_fields = block->n;
}

/* Copies the call's headers into one piece of memory. */
static void keep_fields(struct reading *reading, const struct edge_call *call) {
    size_t bytes = 0;
    for (size_t i = 0; i < call->n_fields; i++)
        bytes += call->fields[i].name_len + call->fields[i].value_len;
    reading->fields = memory_new(call->n_fields * sizeof *reading->fields + bytes, 1);
    reading->n_fields = call->n_fields;
    char *text = (char *)(reading->fields + call->n_fields);
    for (size_t i = 0; i < call->n_fields; i++) {
        struct edge_field field = call->fields[i];
        memcpy(text, field.name, field.name_len);
        memcpy(text + field.name_len, field.value, field.value_len);
        field.name = text;
        field.value = text + field.name_len;
        reading->fields[i] = field;
        text += field.name_len + field.value_len;
    }
}

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

void forget_reading(struct reading *reading) {
    free(reading->block);
    free(reading->fields);
    *reading = (struct reading){0};
}

/* --- calls --- */

/* Whether the core has to get the frame soon: a ping is answered in time, whatever becomes of the calls before it. */
static bool is_urgent(const struct frame *frame) {
    return frame->type != TYPE_DATA && frame->type != TYPE_HEADERS && frame->type != TYPE_CONTINUATION &&
           frame->type != TYPE_WINDOW_UPDATE;
}

/* Looks for the whole request of a stream behind its header block. STEP_WRONG: it is not one to be answered here, or
 * others would wait for it: where frames of other streams have come and the next frame has not begun, it may be long in
 * coming. So may the end of a stream whose message is there. */
static enum step find_request(const struct pass *pass, size_t at, uint32_t stream, struct edge_call *call) {
    struct frame frame;
    bool has_urgent = false, has_others = false;
    for (;; at += frame.size) {
        bool is_there = frame_at(pass, at, &frame);
        bool is_data = is_there && frame.type == TYPE_DATA && frame.stream == stream;
        if (is_there && frame.stream == stream && !is_data && frame.type != TYPE_WINDOW_UPDATE)
            return STEP_WRONG;
        if (is_data && ((frame.flags & FLAG_PADDED) || (frame.len > 0 && call->len > 0)))
            return STEP_WRONG;
        has_urgent |= is_there && is_urgent(&frame);
        if (!is_there || !frame.is_whole)
            return has_urgent || ((has_others || call->len > 0) && at == pass->len) ||
                           pass->len - pass->at > CALL_TAIL_MAX
                       ? STEP_WRONG
                       : STEP_WAIT;
        has_others |= frame.stream != stream;
        if (is_data && frame.len > 0) {
            call->message = frame.payload;
            call->len = frame.len;
        }
        if (is_data && (frame.flags & FLAG_END_STREAM))
            break;
    }
    if (call->len < PREFIX_LEN || call->message[0] != 0 || get_u32(call->message + 1) != call->len - PREFIX_LEN)
        return STEP_WRONG;
    call->message += PREFIX_LEN;
    call->len -= PREFIX_LEN;
    return STEP_ON;
}

/* Whether answers can be put between the core's frames. From the first call on, the cork stays open for all of the
 * pass. A client with a smaller table has to be told its size by the first header block, which the core writes. */
static bool is_open(struct pass *pass) {
    struct cork *cork = pass->cork;
    if (!pass->is_inside || pass->doorstep->n_awaited == AWAITED_MAX)
        return false;
    if (!pass->has_cork) {
        pass->has_cork = true;
        pass->may_put = cork_open(cork, pass->fd) && cork->outgoing.has_begun && !cork->outgoing.is_ending &&
                        (!pass->doorstep->has_less_table || cork->outgoing.leaves_table);
    }
    return pass->may_put && cork->len < UNREAD_MAX;
}

void tell_answered(struct pass *pass) {
    const struct edge_early *early = &pass->doorstep->door->early;
    if (pass->n_answered > 0)
        early->on_answered(early->arg, pass->answered_tag, pass->n_answered);
    pass->n_answered = 0;
}

struct reply_use reply_use_of(const struct doorstep *doorstep, const struct outgoing *outgoing) {
    bool is_ours = outgoing->leaves_table, is_less = atomic_load(&doorstep->has_less_table);
    return (struct reply_use){
        .n_blocks = is_ours && !is_less ? outgoing->n_blocks : 0,
        .clears = is_less && (is_ours || outgoing->n_blocks == 0),
    };
}

/* False: the call goes to the core. */
static bool answer(struct pass *pass, const struct edge_call *call, uint32_t stream) {
    struct doorstep *doorstep = pass->doorstep;
    const struct edge_early *early = &doorstep->door->early;
    const struct outgoing *outgoing = &pass->cork->outgoing;
    const struct edge_answer *answer = early->answer(early->arg, call);
    if (!answer)
        return false;
    uint8_t frame[REPLY_MAX];
    const struct reply_use use = reply_use_of(doorstep, outgoing);
    cork_put(pass->cork, frame, reply_write(&doorstep->replies, answer, use, stream, REPLY_WHOLE, frame));
    doorstep->answered_stream = stream;
    doorstep->awaited[doorstep->n_awaited++] = stream;
    if (answer->tag != pass->answered_tag)
        tell_answered(pass);
    pass->answered_tag = answer->tag;
    pass->n_answered++;
    return true;
}

/* Offers the call to its service. NULL: the call goes to the core. */
static struct edge_taken *take(struct pass *pass, const struct edge_call *call, uint32_t stream) {
    struct doorstep *doorstep = pass->doorstep;
    const struct edge_early *early = &doorstep->door->early;
    if (!window_has_room(doorstep, call->len))
        return NULL;
    struct edge_taken *taken = early->take(early->arg, call);
    if (!taken)
        return NULL;
    *taken = (struct edge_taken){
        .fd = pass->fd,
        .cork = pass->cork,
        .stream = stream,
        .promised = early->answer_bytes + call->len,
        .doorstep = doorstep,
    };
    taken_link(doorstep, taken);
    doorstep->answered_stream = stream;
    doorstep->awaited[doorstep->n_awaited++] = stream;
    return taken;
}

/* The service may answer at once, and needs the cork for it. */
static void begin(struct pass *pass, struct edge_taken *taken, const struct edge_call *call) {
    const struct edge_early *early = &pass->doorstep->door->early;
    cork_shut(pass->cork, pass->fd);
    pass->has_cork = false;
    early->begin(early->arg, taken, call);
}

/* The block does not go to the core. */
static void withhold(struct doorstep *doorstep) {
    struct reading *reading = &doorstep->reading;
    if (reading->block)
        hpack_unwrite(doorstep->table, &reading->mark);
    else if (reading->has_insertions && hpack_is_same(doorstep->table))
        hpack_part(doorstep->table, reading->first_new);
    forget_reading(reading);
}

/* A block of the edge's own, in as many frames as it takes. */
static void give_block(struct pass *pass, const struct frame *first, const uint8_t *block, size_t len) {
    enum http2_type type = TYPE_HEADERS;
    int flags = first->flags & FLAG_END_STREAM;
    while (len > 0) {
        size_t n = smaller(len, FRAME_LEN_MAX);
        uint8_t header[HEADER_LEN];
        put_frame_header(header, (uint32_t)n, type, flags | (n == len ? FLAG_END_HEADERS : 0), first->stream);
        pass_give(pass, header, sizeof header);
        pass_give(pass, block, n);
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
        pass_give(pass, pass->in + pass->at, end - pass->at);
    forget_reading(reading);
    pass->at = end;
}

enum step take_headers(struct pass *pass, const struct frame *frame) {
    struct doorstep *doorstep = pass->doorstep;
    struct reading *reading = &doorstep->reading;
    const uint8_t *bytes;
    size_t len, end;
    enum step step = find_block(pass, frame, &bytes, &len, &end);
    bool is_new = !reading->is_done;
    if (step != STEP_ON)
        return step;
    if (is_new && !read_block(pass, frame, bytes, len))
        return STEP_WRONG;
    if (reading->is_call && is_open(pass)) {
        struct edge_call call = {.fields = reading->fields, .n_fields = reading->n_fields, .fd = pass->fd};
        if (is_new)
            list_fields(pass->scratch, &call);
        step = find_request(pass, end, frame->stream, &call);
        bool is_answered = step == STEP_ON && answer(pass, &call, frame->stream);
        struct edge_taken *taken = step == STEP_ON && !is_answered ? take(pass, &call, frame->stream) : NULL;
        if (taken)
            begin(pass, taken, &call);
        if (is_answered || taken) {
            withhold(doorstep);
            pass->at = end;
            return STEP_ON;
        }
        if (step == STEP_WAIT && is_new) {
            keep_fields(reading, &call);
            return write_block(pass) ? STEP_WAIT : STEP_WRONG;
        }
        if (step == STEP_WAIT)
            return STEP_WAIT;
    }
    if (is_new && !write_block(pass))
        return STEP_WRONG;
    pass_block(pass, frame, end);
    return STEP_ON;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Finds string fields that are not valid text in the bytes of a message: protobuf-c does not check UTF-8, and its C
 * strings end at the first NUL, so a NUL can't be found after unpacking.
 *
 * The walk follows the descriptors of protobuf-c. It allocates only to name a bad field. It also protects
 * protobuf_c_message_unpack, which recurses as deep as a message is nested. Stateless. */
#include <string.h>

#include "base/strbuf.h"
#include "rpc/utf8.h"

#define DEPTH_MAX 100 /* of nested messages, as in protobuf's own parsers */

/* One message of the walk. With its parents it gives the path of a field. */
struct frame {
    const struct frame *parent;
    const ProtobufCMessageDescriptor *descriptor;
    const ProtobufCFieldDescriptor *field; /* the current one */
    const uint8_t *start, *field_start;    /* of the message, of the current field's tag */
};

struct walk {
    struct arena *arena;
    struct rpc_bad_fields *bad;
};

static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (*at == end)
            return false;
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

struct wire_field {
    uint32_t id;
    unsigned wire_type;
    const uint8_t *value; /* of a length-prefixed one */
    size_t len;
};

/* Reads a field and moves *at past it. */
static bool read_field(const uint8_t **at, const uint8_t *end, struct wire_field *ret) {
    uint64_t tag, number;
    if (!read_varint(at, end, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
        return false;
    *ret = (struct wire_field){.id = (uint32_t)(tag >> 3), .wire_type = (unsigned)(tag & 7)};
    switch (ret->wire_type) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return read_varint(at, end, &number);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        number = 8;
        break;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        number = 4;
        break;
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        if (!read_varint(at, end, &number))
            return false;
        break;
    default: /* groups: protobuf-c refuses them too */
        return false;
    }
    if (number > (uint64_t)(end - *at))
        return false;
    ret->value = *at;
    ret->len = (size_t)number;
    *at += number;
    return true;
}

/* The length of a well-formed sequence that starts with a byte >= 0x80; 0 where it is not well-formed: longer than its
 * value needs, a surrogate, above U+10FFFF, or cut off. */
static size_t utf8_sequence(const uint8_t *at, const uint8_t *end) {
    uint8_t low = 0x80, high = 0xbf; /* what the second byte may be */
    size_t len;
    if (at[0] >= 0xc2 && at[0] <= 0xdf) {
        len = 2;
    } else if (at[0] >= 0xe0 && at[0] <= 0xef) {
        len = 3;
        low = at[0] == 0xe0 ? 0xa0 : low;
        high = at[0] == 0xed ? 0x9f : high;
    } else if (at[0] >= 0xf0 && at[0] <= 0xf4) {
        len = 4;
        low = at[0] == 0xf0 ? 0x90 : low;
        high = at[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if ((size_t)(end - at) < len || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* Whether the next eight bytes are ASCII without NUL. */
static bool is_plain(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return ((word | (word - UINT64_C(0x0101010101010101))) & UINT64_C(0x8080808080808080)) == 0;
}

bool utf8_check(const uint8_t *bytes, size_t len, bool *ret_has_nul) {
    const uint8_t *at = bytes, *end = bytes + len;
    while (at < end) {
        if (end - at >= 8 && is_plain(at)) {
            at += 8;
            continue;
        }
        size_t step = *at < 0x80 ? *at != 0 : utf8_sequence(at, end);
        if (step == 0) {
            *ret_has_nul = *at == 0;
            return false;
        }
        at += step;
    }
    return true;
}

/* The index of the repeated field's element that the frame is at. */
static unsigned index_of_element(const struct frame *frame) {
    unsigned index = 0;
    const uint8_t *at = frame->start;
    struct wire_field field;
    while (at < frame->field_start && read_field(&at, frame->field_start, &field))
        if (field.id == frame->field->id)
            index++;
    return index;
}

static void add_path(const struct frame *frame, struct strbuf *path) {
    if (frame->parent) {
        add_path(frame->parent, path);
        strbuf_puts(path, ".");
    }
    strbuf_puts(path, frame->field->name);
    if (frame->field->label == PROTOBUF_C_LABEL_REPEATED)
        strbuf_printf(path, "[%u]", index_of_element(frame));
}

static void add_bad(struct walk *walk, const struct frame *frame, const char *problem) {
    if (walk->bad->n == RPC_BAD_FIELDS_MAX)
        return;
    struct strbuf path = {0};
    add_path(frame, &path);
    walk->bad->list[walk->bad->n++] = (struct rpc_bad_field){arena_strdup(walk->arena, path.data), problem};
    strbuf_deinit(&path);
}

static bool walk_message(struct walk *walk, struct frame *frame, const uint8_t *end, int depth) {
    if (depth > DEPTH_MAX)
        return false;
    const uint8_t *at = frame->start;
    while (at < end) {
        frame->field_start = at;
        struct wire_field wire;
        if (!read_field(&at, end, &wire))
            return false;
        frame->field = protobuf_c_message_descriptor_get_field(frame->descriptor, wire.id);
        if (!frame->field || wire.wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            continue;
        if (frame->field->type == PROTOBUF_C_TYPE_MESSAGE) {
            struct frame inner = {.parent = frame, .descriptor = frame->field->descriptor, .start = wire.value};
            if (!walk_message(walk, &inner, wire.value + wire.len, depth + 1))
                return false;
        } else if (frame->field->type == PROTOBUF_C_TYPE_STRING) {
            bool has_nul;
            if (!utf8_check(wire.value, wire.len, &has_nul))
                add_bad(walk, frame, has_nul ? "has a NUL character" : "is not valid UTF-8");
        }
    }
    return true;
}

bool message_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len, struct arena *arena,
                   struct rpc_bad_fields *ret) {
    struct walk walk = {.arena = arena, .bad = ret};
    struct frame frame = {.descriptor = descriptor, .start = bytes};
    ret->n = 0;
    return walk_message(&walk, &frame, bytes + len, 1);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "console/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "rpc/encode.h"

/* --- members --- */

static void add_name(struct strbuf *out, const char *name) {
    if (name) {
        strbuf_json(out, name);
        strbuf_puts(out, ":");
    }
}

void json_text(struct strbuf *out, const char *name, const char *value) {
    add_name(out, name);
    strbuf_json(out, value);
    strbuf_puts(out, ",");
}

void json_id(struct strbuf *out, const char *name, int64_t value) {
    add_name(out, name);
    strbuf_printf(out, "\"%lld\",", (long long)value);
}

void json_int(struct strbuf *out, const char *name, int64_t value) {
    add_name(out, name);
    strbuf_printf(out, "%lld,", (long long)value);
}

void json_number(struct strbuf *out, const char *name, double value) {
    bool is_finite = value - value >= 0;
    add_name(out, name);
    if (is_finite)
        strbuf_printf(out, "%.6g,", value);
    else
        strbuf_puts(out, "null,");
}

void json_bool(struct strbuf *out, const char *name, bool value) {
    add_name(out, name);
    strbuf_puts(out, value ? "true," : "false,");
}

void json_time(struct strbuf *out, const char *name, int64_t wall_us) {
    char room[28];
    json_text(out, name, clock_format(wall_us, room));
}

void json_open(struct strbuf *out, const char *name, char bracket) {
    add_name(out, name);
    strbuf_add(out, &bracket, 1);
}

void json_close(struct strbuf *out, char bracket) {
    if (out->len > 0 && out->data[out->len - 1] == ',')
        out->data[out->len - 1] = bracket;
    else
        strbuf_add(out, &bracket, 1);
    strbuf_puts(out, ",");
}

void json_end(struct strbuf *out) {
    json_close(out, '}');
    out->data[--out->len] = '\0';
}

/* --- messages --- */

static void add_bytes(struct strbuf *out, const ProtobufCBinaryData *bytes) {
    char *text = memory_new(BASE64_SIZE(bytes->len), 1);
    base64_encode(bytes->data, bytes->len, text);
    json_text(out, NULL, text);
    free(text);
}

/* The length of the prefix that the names of an enum share: STATUS_PAUSED and STATUS_CLOSED have STATUS_. */
static size_t prefix_of(const ProtobufCEnumDescriptor *descriptor) {
    const char *first = descriptor->values[0].name;
    size_t len = 0;
    for (size_t i = 0; first[i]; i++) {
        for (unsigned value = 1; value < descriptor->n_values; value++)
            if (descriptor->values[value].name[i] != first[i])
                return len;
        if (first[i] == '_')
            len = i + 1;
    }
    return 0;
}

static void add_enum(struct strbuf *out, const ProtobufCEnumDescriptor *descriptor, int value) {
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(descriptor, value);
    if (found)
        json_text(out, NULL, found->name + prefix_of(descriptor));
    else
        json_int(out, NULL, value);
}

static void add_submessage(struct strbuf *out, const ProtobufCMessage *message) {
    if (message->descriptor == &google__protobuf__timestamp__descriptor) {
        const Google__Protobuf__Timestamp *time = (const Google__Protobuf__Timestamp *)(const void *)message;
        json_time(out, NULL, time->seconds * US_PER_S + time->nanos / 1000);
        return;
    }
    json_message(out, message);
    strbuf_puts(out, ",");
}

static void add_value(struct strbuf *out, const ProtobufCFieldDescriptor *field, const void *at) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        json_int(out, NULL, *(const int32_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        json_int(out, NULL, *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        json_id(out, NULL, *(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        strbuf_printf(out, "\"%llu\",", (unsigned long long)*(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        json_number(out, NULL, (double)*(const float *)at);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        json_number(out, NULL, *(const double *)at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        json_bool(out, NULL, *(const protobuf_c_boolean *)at);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        add_enum(out, field->descriptor, *(const int *)at);
        break;
    case PROTOBUF_C_TYPE_STRING:
        json_text(out, NULL, *(char *const *)at);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        add_bytes(out, at);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        add_submessage(out, *(ProtobufCMessage *const *)at);
        break;
    }
}

static size_t size_of(const ProtobufCFieldDescriptor *field) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    default:
        return 4;
    }
}

static void add_list(struct strbuf *out, const ProtobufCFieldDescriptor *field, const char *base) {
    size_t n = *(const size_t *)(const void *)(base + field->quantifier_offset);
    const char *items = *(char *const *)(const void *)(base + field->offset);
    json_open(out, field->name, '[');
    for (size_t i = 0; i < n; i++)
        add_value(out, field, items + i * size_of(field));
    json_close(out, ']');
}

/* A message, or a field of a oneof or with presence, may be absent. */
static bool is_present(const ProtobufCFieldDescriptor *field, const char *base) {
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(const void *)(base + field->quantifier_offset) == field->id;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING)
        return *(void *const *)(const void *)(base + field->offset) != NULL;
    return field->label != PROTOBUF_C_LABEL_OPTIONAL ||
           *(const protobuf_c_boolean *)(const void *)(base + field->quantifier_offset);
}

void json_message(struct strbuf *out, const ProtobufCMessage *message) {
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    const char *base = (const char *)message;
    json_open(out, NULL, '{');
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            add_list(out, field, base);
        } else if (is_present(field, base)) {
            add_name(out, field->name);
            add_value(out, field, base + field->offset);
        }
    }
    json_end(out);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "console/params.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    ProtobufCMessage *message;
    struct err *err;
    bool ok;
};

bool params_int(const char *text, int64_t *ret) {
    char *end;
    errno = 0;
    if (!text || !isdigit((unsigned char)*text))
        return false;
    *ret = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0;
}

static bool set(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, const char *value) {
    char *at = (char *)message + field->offset;
    int64_t number;
    if (field->label == PROTOBUF_C_LABEL_REPEATED || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return false;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
        return params_int(value, (int64_t *)(void *)at);
    case PROTOBUF_C_TYPE_INT32:
        if (!params_int(value, &number) || number > INT32_MAX)
            return false;
        *(int32_t *)(void *)at = (int32_t)number;
        return true;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)(void *)at = strcmp(value, "true") == 0;
        return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
    case PROTOBUF_C_TYPE_STRING:
        *(char **)(void *)at = (char *)(uintptr_t)value;
        return true;
    default:
        return false;
    }
}

static bool see(void *arg, const char *name, const char *value) {
    struct reading *reading = arg;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(reading->message->descriptor, name);
    if (!field)
        reading->ok = err_set(reading->err, ERR_INVALID, BACKEND_NONE, "%.60s: there is no such field", name);
    else if (!set(reading->message, field, value ? value : ""))
        reading->ok = err_set(reading->err, ERR_INVALID, BACKEND_NONE, "%.60s: \"%.60s\" does not suit it", name,
                              value ? value : "");
    return reading->ok;
}

bool params_read(const struct http_request *request, const ProtobufCMessageDescriptor *descriptor, struct arena *arena,
                 ProtobufCMessage **ret_message, struct err *err) {
    ProtobufCMessage *message = arena_zalloc(arena, descriptor->sizeof_message);
    descriptor->message_init(message);
    struct reading reading = {message, err, true};
    http_request_each_query(request, see, &reading);
    *ret_message = message;
    return reading.ok;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Finds files and services in a FileDescriptorSet.
 *
 * The set is parsed twice: as messages, for what a file defines, and as the bytes of each file. Reflection has to serve
 * a file as its compiler wrote it, and protobuf-c may order fields differently. Lookups are linear: there are a dozen
 * files and few requests. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rpc/descriptors.h"

#define FILE_TAG 0x0a /* FileDescriptorSet.file, length-prefixed: the only field it has */

/* Reads one file's entry and moves *at past it. */
static bool read_entry(const uint8_t **at, const uint8_t *end, struct descriptor_file *ret) {
    if (*(*at)++ != FILE_TAG)
        return false;
    uint64_t len = 0;
    unsigned shift = 0;
    do {
        if (*at == end || shift > 28)
            return false;
        len |= (uint64_t)(**at & 0x7f) << shift;
        shift += 7;
    } while (*(*at)++ & 0x80);
    if (len > (uint64_t)(end - *at))
        return false;
    *ret = (struct descriptor_file){.bytes = *at, .len = (size_t)len};
    *at += len;
    ret->proto = google__protobuf__file_descriptor_proto__unpack(NULL, ret->len, ret->bytes);
    return ret->proto && ret->proto->name;
}

bool descriptors_init(struct descriptors *descriptors, const unsigned char *set, size_t size, struct err *err) {
    *descriptors = (struct descriptors){0};
    if (!set || size == 0)
        return true;
    const uint8_t *at = set, *end = set + size;
    while (at < end) {
        struct descriptor_file file = {0};
        if (!read_entry(&at, end, &file)) {
            if (file.proto)
                google__protobuf__file_descriptor_proto__free_unpacked(file.proto, NULL);
            descriptors_deinit(descriptors);
            return err_set(err, ERR_INVALID, BACKEND_NONE, "the descriptor set is damaged at byte %zu",
                           (size_t)(at - set));
        }
        descriptors->files = memory_resize(descriptors->files, descriptors->n + 1, sizeof *descriptors->files);
        descriptors->files[descriptors->n++] = file;
    }
    return true;
}

void descriptors_deinit(struct descriptors *descriptors) {
    for (size_t i = 0; i < descriptors->n; i++)
        google__protobuf__file_descriptor_proto__free_unpacked(descriptors->files[i].proto, NULL);
    free(descriptors->files);
    *descriptors = (struct descriptors){0};
}

int descriptors_file_named(const struct descriptors *descriptors, const char *name) {
    for (size_t i = 0; i < descriptors->n && i < INT_MAX; i++)
        if (strcmp(descriptors->files[i].proto->name, name) == 0)
            return (int)i;
    return -1;
}

/* The rest of the dotted `path` after its first part `name`: "" if that is all of it, NULL if the path starts
 * otherwise. */
static const char *behind(const char *path, const char *name) {
    if (!path || !name || !*name)
        return NULL;
    size_t len = strlen(name);
    if (strncmp(path, name, len) != 0)
        return NULL;
    if (path[len] == '\0')
        return path + len;
    return path[len] == '.' && path[len + 1] != '\0' ? path + len + 1 : NULL;
}

static bool is(const char *path, const char *name) {
    const char *rest = behind(path, name);
    return rest && *rest == '\0';
}

static bool fields_have(Google__Protobuf__FieldDescriptorProto *const *fields, size_t n, const char *path) {
    for (size_t i = 0; i < n; i++)
        if (is(path, fields[i]->name))
            return true;
    return false;
}

/* An enum's values are siblings of the enum itself. */
static bool enums_have(Google__Protobuf__EnumDescriptorProto *const *enums, size_t n, const char *path) {
    for (size_t i = 0; i < n; i++) {
        const char *rest = behind(path, enums[i]->name);
        if (rest && *rest == '\0')
            return true;
        for (size_t j = 0; j < enums[i]->n_value; j++)
            if (is(path, enums[i]->value[j]->name) || (rest && is(rest, enums[i]->value[j]->name)))
                return true;
    }
    return false;
}

static bool message_has(const Google__Protobuf__DescriptorProto *message, const char *path) {
    const char *rest = behind(path, message->name);
    if (!rest)
        return false;
    if (*rest == '\0')
        return true;
    for (size_t i = 0; i < message->n_nested_type; i++)
        if (message_has(message->nested_type[i], rest))
            return true;
    for (size_t i = 0; i < message->n_oneof_decl; i++)
        if (is(rest, message->oneof_decl[i]->name))
            return true;
    return fields_have(message->field, message->n_field, rest) ||
           fields_have(message->extension, message->n_extension, rest) ||
           enums_have(message->enum_type, message->n_enum_type, rest);
}

static bool service_has(const Google__Protobuf__ServiceDescriptorProto *service, const char *path) {
    const char *rest = behind(path, service->name);
    if (!rest)
        return false;
    for (size_t i = 0; i < service->n_method; i++)
        if (is(rest, service->method[i]->name))
            return true;
    return *rest == '\0';
}

/* `symbol` without the file's package; NULL: it is in another one. */
static const char *within_package(const Google__Protobuf__FileDescriptorProto *file, const char *symbol) {
    return file->package && *file->package ? behind(symbol, file->package) : symbol;
}

static bool file_defines(const Google__Protobuf__FileDescriptorProto *file, const char *symbol) {
    const char *path = within_package(file, symbol);
    if (!path || *path == '\0')
        return false;
    for (size_t i = 0; i < file->n_message_type; i++)
        if (message_has(file->message_type[i], path))
            return true;
    for (size_t i = 0; i < file->n_service; i++)
        if (service_has(file->service[i], path))
            return true;
    return enums_have(file->enum_type, file->n_enum_type, path) ||
           fields_have(file->extension, file->n_extension, path);
}

int descriptors_file_defining(const struct descriptors *descriptors, const char *symbol) {
    if (*symbol == '.')
        symbol++;
    for (size_t i = 0; i < descriptors->n && i < INT_MAX; i++)
        if (file_defines(descriptors->files[i].proto, symbol))
            return (int)i;
    return -1;
}

const Google__Protobuf__ServiceDescriptorProto *descriptors_service(const struct descriptors *descriptors,
                                                                    const char *name) {
    for (size_t i = 0; i < descriptors->n; i++) {
        const Google__Protobuf__FileDescriptorProto *file = descriptors->files[i].proto;
        const char *path = within_package(file, name);
        for (size_t j = 0; path && j < file->n_service; j++)
            if (is(path, file->service[j]->name))
                return file->service[j];
    }
    return NULL;
}

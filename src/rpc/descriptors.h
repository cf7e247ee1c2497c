/* SPDX-License-Identifier: Apache-2.0 */
/* A FileDescriptorSet, searchable. Any thread may read it between init and deinit. */
#pragma once

#include "base/err.h"
#include "google/protobuf/descriptor.pb-c.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct descriptor_file {
    const uint8_t *bytes; /* the FileDescriptorProto, within the set */
    size_t len;
    Google__Protobuf__FileDescriptorProto *proto;
};

struct descriptors {
    struct descriptor_file *files;
    size_t n;
};

/* Parses a serialized set, which must outlive `descriptors`. NULL: an empty set. */
bool descriptors_init(struct descriptors *descriptors, const unsigned char *set, size_t size, struct err *err);
void descriptors_deinit(struct descriptors *descriptors);
/* The index of the file of that name; -1 if there is none. */
int descriptors_file_named(const struct descriptors *descriptors, const char *name);
/* The index of the file that defines a service, method, message, field, oneof, enum, enum value or extension, by its
 * full name; -1 if there is none. */
int descriptors_file_defining(const struct descriptors *descriptors, const char *symbol);
/* The service of that full name; NULL if there is none. */
const Google__Protobuf__ServiceDescriptorProto *descriptors_service(const struct descriptors *descriptors,
                                                                    const char *name);

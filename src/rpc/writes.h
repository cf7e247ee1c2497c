/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a call that wait to be sent. The call's lock guards them. */
#pragma once

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

struct write {
    grpc_byte_buffer *buffer;
    bool compress;
};
/* A ring that grows. */
struct writes {
    struct write *items;
    size_t first, count, capacity;
};

void writes_push(struct writes *writes, grpc_byte_buffer *buffer, bool compress);
struct write writes_pop(struct writes *writes); /* must not be empty */
void writes_clear(struct writes *writes);
void writes_deinit(struct writes *writes);
/* The op that sends a message. The buffer must stay until the op is done. */
grpc_op write_op(const struct write *write);

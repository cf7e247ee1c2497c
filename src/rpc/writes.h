/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a stream that wait to be sent. Owned by one call and guarded by that call's lock. */
#pragma once

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

/* A stream's messages that wait for their turn: a ring that grows. */
struct write {
    grpc_byte_buffer *buffer;
    bool compress;
};
struct writes {
    struct write *items;
    size_t first, count, capacity;
};

void writes_push(struct writes *writes, grpc_byte_buffer *buffer, bool compress);
struct write writes_pop(struct writes *writes); /* there is one */
void writes_clear(struct writes *writes);
void writes_deinit(struct writes *writes);
/* The op that sends it; the buffer must stay until the op is done. */
grpc_op write_op(const struct write *write);

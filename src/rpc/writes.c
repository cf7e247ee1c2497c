/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of messages that wait until the core takes them. Its capacity is a power of two. */
#include <stdlib.h>

#include "base/memory.h"
#include "rpc/writes.h"

static struct write *slot(const struct writes *writes, size_t index) {
    return &writes->items[(writes->first + index) & (writes->capacity - 1)];
}

void writes_push(struct writes *writes, grpc_byte_buffer *buffer, bool compress) {
    if (writes->count == writes->capacity) {
        size_t capacity = writes->capacity ? 2 * writes->capacity : 4;
        struct write *items = memory_new(capacity, sizeof *items);
        for (size_t i = 0; i < writes->count; i++)
            items[i] = *slot(writes, i);
        free(writes->items);
        *writes = (struct writes){.items = items, .count = writes->count, .capacity = capacity};
    }
    *slot(writes, writes->count++) = (struct write){buffer, compress};
}

struct write writes_pop(struct writes *writes) {
    struct write write = *slot(writes, 0);
    writes->first++;
    writes->count--;
    return write;
}

void writes_clear(struct writes *writes) {
    while (writes->count > 0)
        grpc_byte_buffer_destroy(writes_pop(writes).buffer);
}

void writes_deinit(struct writes *writes) {
    writes_clear(writes);
    free(writes->items);
}

grpc_op write_op(const struct write *write) {
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .flags = write->compress ? 0 : GRPC_WRITE_NO_COMPRESS};
    op.data.send_message.send_message = write->buffer;
    return op;
}

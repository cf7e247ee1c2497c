/* SPDX-License-Identifier: Apache-2.0 */
/* A client on the bare core, for what the bridge's own can't do: sending whatever bytes, metadata, several messages.
 * One call, one thread; each function waits for its batch, and fails the test where that takes too long. */
#pragma once

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

struct raw {
    grpc_completion_queue *queue;
    grpc_channel *channel;
    grpc_call *call;
    grpc_metadata_array headers, trailers;
    grpc_status_code code;
    grpc_slice text;
    char message[1000]; /* of the status */
    bool is_status_due;
};

/* Opens a connection and a call of "/package.Service/Method" with metadata x-toy and x-toy-bin (NULL: without). */
void raw_open(struct raw *raw, const char *address, const char *path, const char *toy, const char *toy_bin);
/* As raw_open; the request says that it is compressed by gzip. */
void raw_open_gzip(struct raw *raw, const char *address, const char *path);
bool raw_send(struct raw *raw, const void *bytes, size_t len);
void raw_half_close(struct raw *raw);
/* The next message into bytes[size]; its length, or -1 when there are no more. */
long raw_receive(struct raw *raw, void *bytes, size_t size);
/* Waits for the status. */
int raw_status(struct raw *raw);
void raw_cancel(struct raw *raw);
void raw_close(struct raw *raw);
/* All of a unary call: the code, and the message in raw->message. */
int raw_unary(const char *address, const char *path, const void *bytes, size_t len, char message[static 1000]);

/* SPDX-License-Identifier: Apache-2.0 */
/* A client on the bare core, which can send what the bridge's client can't: any bytes, metadata, several messages. One
 * call, one thread. Each function waits for its batch, and fails the test if that takes too long. */
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

/* Opens a connection and a call of "/package.Service/Method" with metadata x-toy and x-toy-bin (NULL: without it). */
void raw_open(struct raw *raw, const char *address, const char *path, const char *toy, const char *toy_bin);
/* As raw_open, but the request claims to be compressed by gzip. */
void raw_open_gzip(struct raw *raw, const char *address, const char *path);
bool raw_send(struct raw *raw, const void *bytes, size_t len);
void raw_half_close(struct raw *raw);
/* Reads the next message into bytes[size]. Its length; -1 when there are no more. */
long raw_receive(struct raw *raw, void *bytes, size_t size);
/* Waits for the status. */
int raw_status(struct raw *raw);
void raw_close(struct raw *raw);
/* Makes a whole unary call. Returns the code; raw->message is the status's text. */
int raw_unary(const char *address, const char *path, const void *bytes, size_t len, char message[static 1000]);

/* SPDX-License-Identifier: Apache-2.0 */
/* A call of the interop client that the main thread watches: its messages, and its end. */
#pragma once

#include <pthread.h>

#include "grpc/testing/test.pb-c.h"
#include "rpc/client.h"

#define MESSAGES_MAX 32

struct watched {
    struct rpc_client_call call; /* first, because callbacks cast it; its inputs may be set before the call begins */
    pthread_mutex_t lock;        /* guards the rest; `changed` signals any change */
    pthread_cond_t changed;
    size_t n; /* messages received */
    size_t sizes[MESSAGES_MAX];
    bool compressed[MESSAGES_MAX];
    bool has_headers, is_done;
    char header[100]; /* x-grpc-test-echo-initial */
    uint8_t trailer[16];
    size_t trailer_len; /* x-grpc-test-echo-trailing-bin */
    int code;
    char message[300];
};

void watched_init(struct watched *watched);
/* Closures for stubs, by the type of the message. */
void watched_on_simple(const Grpc__Testing__SimpleResponse *response, void *watched);
void watched_on_empty(const Grpc__Testing__Empty *response, void *watched);
void watched_on_input(const Grpc__Testing__StreamingInputCallResponse *response, void *watched);
void watched_on_output(const Grpc__Testing__StreamingOutputCallResponse *response, void *watched);
/* The first waits until `n` messages have come or the call has ended, and returns how many came. The second waits until
 * the call has ended. After a minute, both end the program. */
size_t watched_wait_for_messages(struct watched *watched, size_t n);
void watched_wait(struct watched *watched);

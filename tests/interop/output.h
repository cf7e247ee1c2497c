/* SPDX-License-Identifier: Apache-2.0 */
/* The responses that a stream of the interop server still owes. They keep their order, and are sent when they are due
 * and the client reads. One thread waits for the times of all streams. */
#pragma once

#include <stdbool.h>

#include "grpc/testing/messages.pb-c.h"
#include "rpc/server.h"

struct output;

/* Starts and stops that thread: once each, before the server starts and after it has ended. */
void outputs_start(void);
void outputs_stop(void);

/* Call this from the service function of a stream whose call has just begun. The output lives as long as the call. With
 * `held`, it sends nothing before output_close. */
struct output *output_new(struct rpc_call *call, ProtobufCClosure closure, bool held);
/* Adds responses; call this from the service function. While many are owed, the stream's next request waits. Returns
 * false if the request asks for something impossible; the call has then been failed. */
bool output_add(struct output *output, const Grpc__Testing__StreamingOutputCallRequest *request);
/* Says that no more responses follow: the call ends after the last one. */
void output_close(struct output *output);

/* A payload of that many zeros, valid forever; false if the size is negative or too large. */
#define PAYLOAD_MAX (4 << 20)
bool payload_init(Grpc__Testing__Payload *payload, int32_t size);

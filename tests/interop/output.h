/* SPDX-License-Identifier: Apache-2.0 */
/* The responses that a stream of the interop server still owes: kept in order, sent when they are due and the client
 * reads. Times come from one thread for all streams. */
#pragma once

#include <stdbool.h>

#include "grpc/testing/messages.pb-c.h"
#include "rpc/server.h"

struct output;

/* The thread of the times; once, before and after the server's life. */
void outputs_start(void);
void outputs_stop(void);

/* For a stream whose call just began, from its service function. Lives as long as the call. With `held`, nothing is
 * sent before output_close. */
struct output *output_new(struct rpc_call *call, ProtobufCClosure closure, bool held);
/* From the service function, which the stream's next message waits for while much is owed. False: it asks for what
 * can't be, and the call has been failed. */
bool output_add(struct output *output, const Grpc__Testing__StreamingOutputCallRequest *request);
/* No more are added: the call ends after the last one. */
void output_close(struct output *output);

/* A payload of that many zeros, valid for good; false when it is negative or too large. */
#define PAYLOAD_MAX (4 << 20)
bool payload_init(Grpc__Testing__Payload *payload, int32_t size);

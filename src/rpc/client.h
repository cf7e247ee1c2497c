/* A gRPC client for the generated protobuf-c stubs on the C core.
 *
 *   struct rpc_channel *channel; rpc_channel_new("127.0.0.1:50051", &options, &channel, &err);
 *   ProtobufCService *service = rpc_channel_service(channel, &coupon__v1__coupon_service__descriptor, methods, n);
 *   struct rpc_client_call call = {.timeout_ms = 1000, .done = on_done};
 *   coupon__v1__coupon_service__get_status(service, &request, on_response, &call);
 *
 * The closure_data given to a stub MUST be a `struct rpc_client_call *`, zeroed but for its inputs, which stays where
 * it is until `done`. The closure runs once per message received, on a poller thread of the channel; the message is
 * valid until it returns. Then `done` runs, exactly once, last: the call may be freed or reused in it. Neither may
 * block. Unary and server-streaming calls; a call to a method of another shape ends with UNIMPLEMENTED. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/rpc.h"

struct rpc_channel;

struct rpc_channel_options {
    int pollers;              /* threads; 0 means 1 */
    size_t max_message_bytes; /* of a response; 0 means 4 MiB */
};

struct rpc_client_call {
    /* inputs */
    int64_t timeout_ms;  /* 0: none */
    bool wait_for_ready; /* wait for a connection instead of failing with UNAVAILABLE */
    void (*done)(struct rpc_client_call *call, const struct rpc_status *status); /* status valid until it returns */
    void *arg;                                                                   /* for the caller */
    /* the bridge's */
    void *operation;
};

/* `target`: HOST:PORT, or any gRPC target. Does not connect yet. */
bool rpc_channel_new(const char *target, const struct rpc_channel_options *options, struct rpc_channel **ret_channel,
                     struct err *err);
/* Cancels what is in flight, waits for each `done`, joins the pollers. NULL is fine. Not from a closure or done. */
void rpc_channel_free(struct rpc_channel *channel);
/* The stub's service; owned by the channel, one per descriptor. `methods` must outlive the channel. */
ProtobufCService *rpc_channel_service(struct rpc_channel *channel, const ProtobufCServiceDescriptor *descriptor,
                                      const struct rpc_method *methods, size_t n_methods);
/* Ends the call with CANCELLED soon; `done` still runs. Any thread; does nothing before the call was made, or once
 * `done` has begun. */
void rpc_client_call_cancel(struct rpc_client_call *call);

/* --- for programs that simply wait --- */

/* Calls method number `index` of the service and blocks until it ended. Messages go to on_message (may be NULL) on a
 * poller thread while this waits. Returns true for OK; else *ret_status is filled, its message and details malloc'ed
 * and owned by the caller (rpc_status_deinit). */
bool rpc_client_call_wait(ProtobufCService *service, unsigned index, const ProtobufCMessage *input, int64_t timeout_ms,
                          void (*on_message)(const ProtobufCMessage *message, void *arg), void *arg,
                          struct rpc_status *ret_status);
void rpc_status_deinit(struct rpc_status *status);

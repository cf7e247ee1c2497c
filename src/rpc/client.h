/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC client for the generated protobuf-c stubs on the C core.
 *
 *   struct rpc_channel *channel; rpc_channel_new("127.0.0.1:50051", &options, &channel, &err);
 *   ProtobufCService *service = rpc_channel_service(channel, &coupon__v1__coupon_service__descriptor, methods, n);
 *   struct rpc_client_call call = {.timeout_ms = 1000, .done = on_done};
 *   coupon__v1__coupon_service__get_status(service, &request, on_response, &call);
 *
 * The closure_data given to a stub must point to a `struct rpc_client_call` that is zeroed except for its inputs. It
 * must stay where it is until `done`. The closure runs once per message received, on a poller thread of the channel;
 * the message is valid until it returns. `done` runs last, exactly once, and may free or reuse the call. None of these
 * functions may block.
 *
 * Client and bidi streams: the stub sends a first message and leaves the call open; rpc_client_call_open begins one
 * without a message. rpc_client_call_write sends a message, rpc_client_call_half_close tells the server that no more
 * follow. Messages wait in memory until the server reads. A client that writes without end stops when
 * rpc_client_call_pending_writes reaches the number it wants to keep, and goes on in `on_drained`. */
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
    /* NULL: plain text. rpc_channel_new reads the files; the channel does not read them again. */
    const struct rpc_tls *tls;
    const char *server_name; /* the name to find in the server's certificate; NULL: the target's host */
    const char *token;       /* sent with each call as "authorization: Bearer …"; or NULL */
    bool plaintext_token;    /* send the token without TLS to non-loopback addresses, too */
};

struct rpc_client_call {
    /* inputs */
    int64_t timeout_ms;    /* 0: no deadline */
    bool wait_for_ready;   /* wait for a connection instead of failing with UNAVAILABLE */
    size_t max_call_bytes; /* of all responses together, decompressed; more is RESOURCE_EXHAUSTED; 0: no limit */
    /* Of the messages sent. Set it before the call begins; between writes it may be switched off and on again. */
    enum rpc_compression compression;
    const struct rpc_metadatum *metadata; /* of the request; copied when the call begins */
    size_t n_metadata;
    void (*on_headers)(struct rpc_client_call *call); /* streams: the server's headers have come; may be NULL */
    /* Streams: the core has taken all messages written so far, and the call is still open; may be NULL. */
    void (*on_drained)(struct rpc_client_call *call);
    void (*done)(struct rpc_client_call *call, const struct rpc_status *status); /* status valid until it returns */
    void *arg;                                                                   /* the caller's own */
    /* the bridge's */
    void *operation, *received;
};

/* `target`: HOST:PORT, several of them separated by commas, or any gRPC target. Does not look names up or connect yet.
 * Calls take all addresses in turn, those of a single name, too, except for unreachable ones. Names are looked up again
 * after a connection has failed. With TLS, all servers of a list show the same name: server_name, or else the host of
 * the first address. */
bool rpc_channel_new(const char *target, const struct rpc_channel_options *options, struct rpc_channel **ret_channel,
                     struct err *err);
/* Cancels the calls in flight, waits until `done` of each has run, and joins the pollers. NULL is fine. Not from a
 * closure or `done`. */
void rpc_channel_free(struct rpc_channel *channel);
/* The service for a stub. The channel owns it; there is one per descriptor. `methods` must outlive the channel. */
ProtobufCService *rpc_channel_service(struct rpc_channel *channel, const ProtobufCServiceDescriptor *descriptor,
                                      const struct rpc_method *methods, size_t n_methods);
/* Cancels the call, which soon ends with CANCELLED; `done` still runs. Does nothing before the call has begun, or once
 * `done` has. Any thread. */
void rpc_client_call_cancel(struct rpc_client_call *call);

/* Begins a client or bidi stream without a message. `index`: the method's number in its service. */
void rpc_client_call_open(ProtobufCService *service, unsigned index, ProtobufCClosure closure,
                          struct rpc_client_call *call);
/* Sends a message. False: the call is over or was half-closed, and nothing was sent. Any thread. */
bool rpc_client_call_write(struct rpc_client_call *call, const ProtobufCMessage *message);
/* Tells the server, after the messages written so far, that no more follow. Any thread. */
void rpc_client_call_half_close(struct rpc_client_call *call);
/* Messages written and not yet taken by the core. */
size_t rpc_client_call_pending_writes(struct rpc_client_call *call);
/* No message is received after the current one until reading is resumed, which holds the server back. The end of the
 * call is reported after the messages before it, or at once if the call is cancelled. */
void rpc_client_call_pause_reading(struct rpc_client_call *call);
void rpc_client_call_resume_reading(struct rpc_client_call *call);
/* The first value of a lower-case key, as bytes where the key ends in -bin; NULL if absent. Not NUL-terminated;
 * *ret_len is in bytes. Headers: from on_headers or the first message until `done` returns. Trailers: within `done`. */
const char *rpc_client_call_header(const struct rpc_client_call *call, const char *key, size_t *ret_len);
const char *rpc_client_call_trailer(const struct rpc_client_call *call, const char *key, size_t *ret_len);
/* Whether the current message came compressed. From the closure. */
bool rpc_client_call_is_compressed(const struct rpc_client_call *call);

/* --- for programs that simply wait --- */

/* Takes the messages of a call, on a poller thread. */
struct rpc_reader {
    void (*on_message)(const ProtobufCMessage *message, void *arg); /* may be NULL */
    void *arg;
};

/* Calls method number `index` of the service and blocks until the call has ended. `reader` (may be NULL) takes its
 * messages meanwhile. Returns true for OK. Otherwise fills *ret_status, which the caller frees by rpc_status_deinit. */
bool rpc_client_call_wait(ProtobufCService *service, unsigned index, const ProtobufCMessage *input, int64_t timeout_ms,
                          const struct rpc_reader *reader, struct rpc_status *ret_status);

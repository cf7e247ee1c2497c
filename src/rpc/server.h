/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC server for protobuf-c services on the C core.
 *
 * A service is the generated struct of function pointers (`…_Service`). The bridge decodes a request and calls the
 * service's function on a poller thread. The function must not block. The service answers from any thread, within the
 * function or later:
 *
 *   unary           closure(&response, closure_data) exactly once, or rpc_call_fail
 *   server stream   closure(&message, closure_data) any number of times, then rpc_call_finish or rpc_call_fail
 *   client stream   one closure(&response, closure_data), as a unary call, or rpc_call_fail
 *   bidi stream     as a server stream
 *
 * closure(NULL, …) fails the call with INTERNAL. A stream may be ended before its client has sent everything.
 *
 * For client and bidi streams, the function is called several times with the same closure_data:
 *
 *   - with NULL when the call begins: the time to set it up (rpc_call_set_state, rpc_call_on_half_close);
 *   - then once for each message, one at a time.
 *
 * After the client's last message, the function set by rpc_call_on_half_close runs (by default rpc_call_finish). It may
 * also run for a client that has cancelled, so it does not prove that every message has arrived.
 *
 * Flow control. Messages written to a stream wait in memory until the client reads. A service that writes without end
 * stops when rpc_call_pending_writes reaches the number it wants to keep, goes on in rpc_call_on_drained, and stops for
 * good once rpc_call_is_cancelled. The bridge stops receiving after each message while rpc_call_pause_reading holds, and
 * while 16 writes wait. The core then holds the client back.
 *
 * Ownership. `input` is valid until the answer has ended the call (unary, server stream), or until the function returns
 * (client and bidi streams). The response stays the service's: it is serialized before closure returns. A call lives
 * until it was answered and the core has let go of it. Code that uses a call after the answer (such as a cancel function
 * that races with an answer) holds a reference (rpc_call_ref).
 *
 * Every call must be answered, a cancelled one too; otherwise rpc_server_stop waits for it forever. A client stream that
 * waits for more messages does it from rpc_call_on_cancel. An answer to a cancelled call is dropped without harm. A
 * second answer is a defect of the service, and is ignored.
 *
 * The bridge refuses a request before any service sees it:
 *
 *   - with INVALID_ARGUMENT, naming the fields, where a string has NUL or invalid UTF-8;
 *   - with INTERNAL where it cannot be decoded;
 *   - with RESOURCE_EXHAUSTED where it is too large. Sizes count after decompression (gzip and deflate). */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "edge/abuse.h"
#include "rpc/rpc.h"

struct rpc_server;
struct rpc_call;

/* The fields of a request that make it invalid. One refusal names at most RPC_BAD_FIELDS_MAX of them. */
#define RPC_BAD_FIELDS_MAX 16
struct rpc_bad_field {
    const char *field;   /* a path such as "coupon.name" or "tags[1]" */
    const char *problem; /* such as "is not valid UTF-8" */
};
struct rpc_bad_fields {
    struct rpc_bad_field list[RPC_BAD_FIELDS_MAX];
    size_t n;
};

/* What one caller may do; 0: no limit. */
struct rpc_caller_limits {
    double per_second; /* calls begun; a pause is made up for by no more than a second's worth at once */
    int64_t in_flight;
};

struct rpc_server_options {
    const char *listen;            /* "127.0.0.1:50051", "[::1]:0"; port 0 picks a free one */
    int pollers;                   /* threads, each with a completion queue of its own */
    size_t max_message_bytes;      /* of a request; a larger one is RESOURCE_EXHAUSTED */
    int max_concurrent_streams;    /* per connection */
    size_t max_metadata_bytes;     /* per call */
    int64_t max_connection_age_ms; /* 0: no limit */
    /* Of the process; more are closed when they come. 0: as many as its file descriptors allow, less some that are
     * kept for other ends (see guard.c). Counted by descriptors, so it is not exact. */
    int max_connections;
    int64_t max_in_flight; /* calls at a time, health and reflection apart; 0: no limit. More are refused as overload */
    /* A caller is whom `allow` says (rpc_call_set_caller), else the client's address without its port. */
    struct rpc_caller_limits caller_limits;
    /* NULL: plain text. rpc_server_start reads the files and refuses what does not fit together; they are read again
     * for new connections within a second of a change. */
    const struct rpc_tls *tls;
    /* Changed files are used from now on, or can't be (*err says why) and the older stay; may be NULL. A thread of the
     * core's. */
    void (*on_tls_reload)(void *arg, const struct err *err);
    void *on_tls_reload_arg;
    const unsigned char *descriptor_set; /* a serialized FileDescriptorSet with every served service; must outlive */
    size_t descriptor_set_size;
    /* Called once per ended call on a poller thread, for metrics and logs; may be NULL. `service` is the full name,
     * `method` the short one; both "" for a call to a method that does not exist. `us`: from accept to the status. A
     * call whose deadline passed may count as CANCELLED: its client cancels it in the same moment. */
    void (*on_call_end)(void *arg, const char *service, const char *method, int code, int64_t us);
    void *on_call_end_arg;
    /* Fails a call whose message has bad string fields: calls rpc_call_fail. NULL: the bridge fails the call with
     * INVALID_ARGUMENT and names the first field. `bad` is valid until the function returns. */
    void (*on_bad_fields)(void *arg, struct rpc_call *call, const struct rpc_bad_fields *bad);
    void *on_bad_fields_arg;
    /* Whether the call may be made, before anything of its request is looked at; may be NULL (all may). False: it has
     * failed the call (a plain PERMISSION_DENIED follows otherwise). "" for a method that does not exist. */
    bool (*allow)(void *arg, struct rpc_call *call, const char *service, const char *method);
    void *allow_arg;
    /* Fails a call that is one too many, of all or of its caller; may be NULL (a plain RESOURCE_EXHAUSTED with
     * grpc-retry-pushback-ms). */
    void (*on_overload)(void *arg, struct rpc_call *call);
    void *on_overload_arg;
    /* Fails a call that comes while the server stops; may be NULL (a plain UNAVAILABLE). */
    void (*on_stopping)(void *arg, struct rpc_call *call);
    void *on_stopping_arg;
};

/* Copies the options' strings. grpc_init is called within; never fork after it. */
bool rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret_server, struct err *err);
/* Before rpc_server_start. `impl` and `methods` must outlive the server. Fails where a method is missing from
 * `methods`, or the descriptor set lacks the service or says another shape. */
bool rpc_server_add(struct rpc_server *server, ProtobufCService *impl, const struct rpc_method *methods,
                    size_t n_methods, struct err *err);
/* What a method takes, below the server's max_message_bytes; 0: no limit of its own. More is RESOURCE_EXHAUSTED. */
struct rpc_limits {
    size_t message_bytes; /* of one message */
    size_t call_bytes;    /* of all messages of a client or bidi stream */
};
/* After rpc_server_add, before rpc_server_start. `service` is the full name, `method` the short one. */
bool rpc_server_limit(struct rpc_server *server, const char *service, const char *method,
                      const struct rpc_limits *limits, struct err *err);
/* Binds, starts the pollers, accepts. */
bool rpc_server_start(struct rpc_server *server, struct err *err);
/* "127.0.0.1:50051" with the port bound; valid after start, until free. */
const char *rpc_server_address(const struct rpc_server *server);
/* What an operator should know of how this program was built: the text for a warning, a literal, or NULL.
 * rpc_missing_edge: what the server lacks without the edge (edge/edge.h). rpc_untested_core: why the version of gRPC that
 * is in use deserves attention. Any thread. */
const char *rpc_missing_edge(void);
const char *rpc_untested_core(void);
/* After rpc_server_start: why the start's self-test of the edge has no verdict; NULL where it has one. */
const char *rpc_untested_edge(void);
/* The version of the core in use, as it names itself. */
const char *rpc_core_version(void);
/* Calls in flight now. */
int64_t rpc_server_in_flight(const struct rpc_server *server);
/* Connections closed at once because there were too many, since the process began. */
int64_t rpc_connections_refused(void);
/* Connections cut off since the process began. */
int64_t rpc_connections_cut(enum edge_abuse abuse);
/* Refuses new calls, waits up to grace_ms for those in flight, cuts the connections, which cancels the rest, waits
 * until each was answered by its service, joins the pollers. `hurry` (may be NULL): the grace period ends early once
 * *hurry is true. */
void rpc_server_stop(struct rpc_server *server, int64_t grace_ms, const atomic_bool *hurry);
/* After stop, or of a server that never started. NULL is fine. */
void rpc_server_free(struct rpc_server *server);

/* --- a call, as its service sees it; any thread unless said otherwise --- */

/* The call behind the closure_data that a service function was given; it is the call itself. */
struct rpc_call *rpc_call_of(void *closure_data);
/* Ends the call with an error. Copies what it needs of *status. */
void rpc_call_fail(struct rpc_call *call, const struct rpc_status *status);
/* Ends a stream with OK after the messages written so far. */
void rpc_call_finish(struct rpc_call *call);
/* True once the client cancelled, went away, or its deadline passed. */
bool rpc_call_is_cancelled(const struct rpc_call *call);
/* clock_mono_us() time; INT64_MAX when the client set none. */
int64_t rpc_call_deadline_us(const struct rpc_call *call);
/* `fn(arg)` will be called once, on a poller thread, if the call is cancelled before it is answered; at once, on this
 * thread, if it already was. One function per call, set from the service function. */
void rpc_call_on_cancel(struct rpc_call *call, void (*fn)(void *arg), void *arg);
/* Client and bidi streams; see above. Set from the service function. */
void rpc_call_on_half_close(struct rpc_call *call, void (*fn)(void *arg), void *arg);
/* Messages handed to the closure and not yet taken by the core: a stream that grows faster than its reader. */
size_t rpc_call_pending_writes(const struct rpc_call *call);
/* `fn(arg)` is called on the poller's thread each time the core has taken all messages (or the headers, where these
 * were sent alone) of a stream that has not ended. One function per call; set it before the first write. */
void rpc_call_on_drained(struct rpc_call *call, void (*fn)(void *arg), void *arg);
/* No more messages are received after the current one, until resumed. The client's end and cancelling are told as ever,
 * the former once what came before it was read. */
void rpc_call_pause_reading(struct rpc_call *call);
void rpc_call_resume_reading(struct rpc_call *call);
/* Copied. False once they are out (headers go with the first message, or the end), or where the core would not send it
 * (struct rpc_metadatum says what may be sent). */
bool rpc_call_add_header(struct rpc_call *call, const struct rpc_metadatum *header);
bool rpc_call_add_trailer(struct rpc_call *call, const struct rpc_metadatum *trailer);
/* Sends the headers now. */
void rpc_call_send_headers(struct rpc_call *call);
/* How messages from now on are sent, where the client takes it. Which algorithm is settled when the headers go out;
 * afterwards it can be switched off and on for each message. */
void rpc_call_set_compression(struct rpc_call *call, enum rpc_compression compression);
/* Whether the current message came compressed. From the service function. */
bool rpc_call_is_compressed(const struct rpc_call *call);
/* The service's own, NULL at first; from the service function and what runs on the poller's thread. */
void *rpc_call_state(const struct rpc_call *call);
void rpc_call_set_state(struct rpc_call *call, void *state);
/* A value of the request's metadata, first one of that lower-case key, binary where the key ends in -bin; NULL if
 * absent. Valid as long as the call; not NUL-terminated. */
const char *rpc_call_metadata(const struct rpc_call *call, const char *key, size_t *ret_len);
/* Where the client is, as the core puts it: "ipv4:127.0.0.1:5000". From the service function, or `allow`. Valid as long
 * as the call. */
const char *rpc_call_peer(struct rpc_call *call);
/* Alternative name number `index` of the client's certificate, which was verified: DNS name, URI, address; NULL: there
 * are no more. From the service function, or `allow`. Valid as long as the call. */
const char *rpc_call_peer_name(struct rpc_call *call, size_t index);
/* From `allow`: whom the caller's limits count the call for (any number but 0). */
void rpc_call_set_caller(struct rpc_call *call, uint64_t caller);
/* From `allow`, for the service function: whom the call is made for, in the service's terms. 0, unless set. */
void rpc_call_set_subject(struct rpc_call *call, int64_t subject);
int64_t rpc_call_subject(const struct rpc_call *call);
/* Before the call is failed: how long clients that retry by themselves are to wait (grpc-retry-pushback-ms). */
void rpc_call_retry_after(struct rpc_call *call, int64_t ms);
/* Memory that lives as long as the call, e.g. for a stage's state. Only from the service function. Zeroed. */
void *rpc_call_alloc(struct rpc_call *call, size_t size);
void rpc_call_ref(struct rpc_call *call);
void rpc_call_unref(struct rpc_call *call);

/* Answers given between these two go out together: each poller is woken once, at the end. For code that answers many calls
 * one after the other; it must not wait for anything in between. Pairs may be nested. Both on the same thread. */
void rpc_batch_begin(void);
void rpc_batch_end(void);

/* --- services that come with the bridge; before rpc_server_start --- */

/* grpc.health.v1.Health with Check and Watch. Owned by the server. "" is NOT_SERVING until set. */
struct rpc_health;
struct rpc_health *rpc_health_add(struct rpc_server *server, struct err *err);
/* Any thread. `service` "" is the server as a whole. A service never set is NOT_FOUND (Check), SERVICE_UNKNOWN (Watch).
 */
void rpc_health_set(struct rpc_health *health, const char *service, bool serving);
/* grpc.reflection.v1 and v1alpha over the descriptor set; lists the services added to the server. */
bool rpc_reflection_add(struct rpc_server *server, struct err *err);

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
 * stops when rpc_call_pending_writes reaches the number it wants to keep, goes on in the function set by
 * rpc_call_on_drained, and stops for good when rpc_call_is_cancelled returns true. The bridge receives no further
 * message after rpc_call_pause_reading, or while 16 written messages wait. The core then holds the client back.
 *
 * Ownership. `input` is valid until the answer has ended the call (unary, server stream), or until the function returns
 * (client and bidi streams). The response stays the service's: it is serialized before closure returns. A call lives
 * until it has been answered and the core is done with it. Code that uses a call after the answer (such as a cancel
 * function that races with an answer) holds a reference (rpc_call_ref).
 *
 * Every call must be answered, a cancelled one too; otherwise rpc_server_stop waits for it forever. A service that
 * waits for a client's next message answers in the function set by rpc_call_on_cancel. An answer to a cancelled call is
 * dropped without harm. A second answer is a defect of the service, and is ignored.
 *
 * The bridge refuses a request before any service sees it:
 *
 *   - with INVALID_ARGUMENT where a string field has NUL or invalid UTF-8;
 *   - with INVALID_ARGUMENT where it cannot be decoded or decompressed, or is missing;
 *   - with RESOURCE_EXHAUSTED where it is too large. Sizes count after decompression (gzip and deflate). */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "edge/abuse.h"
#include "edge/early.h"
#include "rpc/rpc.h"

struct rpc_server;
struct rpc_call;

/* A unary call that may be refused before the core sees it. */
struct rpc_early_call {
    const uint8_t *message; /* the request, serialized, as the client sent it */
    size_t len;
    const char *authorization; /* the first value of that metadatum, not terminated; NULL: absent */
    size_t authorization_len;
    uint64_t caller; /* to be set, as by rpc_call_set_caller */
    const struct edge_call *edge;
};
/* As rpc_call_metadata. From `refuse`. */
const char *rpc_early_call_metadata(const struct rpc_early_call *call, const char *key, size_t *ret_len);

/* An error for early calls, packed once for any number of them. */
struct rpc_refusal {
    struct edge_answer answer;
};
/* Packs the status. `tag`: the maker's own, for on_refused. False: it is too large to be sent early. Any thread. */
bool rpc_refusal_make(struct rpc_refusal *ret_refusal, const struct rpc_status *status, uint32_t tag);

struct rpc_server_options {
    const char *listen;            /* "127.0.0.1:50051", "[::1]:0"; port 0 picks a free one */
    int pollers;                   /* threads, each with a completion queue of its own; 0: 1 */
    size_t max_message_bytes;      /* of a request; a larger one is RESOURCE_EXHAUSTED; 0: 4 MiB */
    int max_concurrent_streams;    /* per connection; 0: no limit */
    size_t max_metadata_bytes;     /* per call; 0: 8 KiB */
    int64_t max_connection_age_ms; /* 0: no limit */
    /* How often the server pings a connection from which nothing comes. It closes the connection 10 s after a ping that
     * was not answered, and ends its calls: the client has vanished. 0: never, and only the kernel notices. */
    int64_t keepalive_ms;
    /* Connections of the process at a time; more are closed as they come. 0: as many as the limit of open files allows,
     * less a reserve for other uses. The number of a descriptor stands for the count, so this is not exact
     * (edge/door.c). */
    int max_connections;
    /* Limits of one client's address (of an IPv6 address, of its /64 network), for the whole process. Connections are
     * closed as they come:
     *
     * - above this number of connections that wait for their first call;
     * - above a tenth of it per second, once half of it have ended without a call;
     * - for up to 12 s, once three of the address's connections were cut off.
     *
     * 0: 1000; -1: addresses have no limits. */
    int max_address_waiting;
    int64_t max_in_flight; /* calls at a time; health and reflection have as many of their own; 0: no limit */
    /* A caller is the number that `allow` sets by rpc_call_set_caller, else the client's address without its port. */
    struct rpc_caller_limits caller_limits;
    /* NULL: plain text. rpc_server_start reads the files, and fails if they do not fit together. A changed file is used
     * for new connections within a second. */
    const struct rpc_tls *tls;
    /* Runs after the files have changed; may be NULL. `err` is NULL: new connections use them. Otherwise it says why
     * they cannot be used, and the former ones stay in use. Runs on a thread of the core. */
    void (*on_tls_reload)(void *arg, const struct err *err);
    void *on_tls_reload_arg;
    /* A serialized FileDescriptorSet with every served service. It must outlive the server. */
    const unsigned char *descriptor_set;
    size_t descriptor_set_size;
    /* Runs once per ended call on a poller thread, for metrics and logs; may be NULL. `service` is the full name,
     * `method` the short one; both are "" for a method that does not exist. `us`: microseconds from accepting the call
     * to its end. A call whose deadline passed may count as CANCELLED, because its client cancels it at the same
     * moment. */
    void (*on_call_end)(void *arg, const char *service, const char *method, int code, int64_t us);
    void *on_call_end_arg;
    /* Fails a call whose message has bad string fields; may be NULL. If it does not fail the call, the bridge does,
     * with INVALID_ARGUMENT and the first field. `bad` is valid until the function returns. */
    void (*on_bad_fields)(void *arg, struct rpc_call *call, const struct rpc_bad_fields *bad);
    void *on_bad_fields_arg;
    /* Decides whether a call may be made, before its request is decoded; NULL: every call may. Where it returns false
     * it may have failed the call; if not, the bridge does, with PERMISSION_DENIED. Both names are "" for a method that
     * does not exist. */
    bool (*allow)(void *arg, struct rpc_call *call, const char *service, const char *method);
    void *allow_arg;
    /* Fails a call beyond max_in_flight or caller_limits; may be NULL. If it does not fail the call, the bridge does,
     * with RESOURCE_EXHAUSTED and grpc-retry-pushback-ms. */
    void (*on_overload)(void *arg, struct rpc_call *call);
    void *on_overload_arg;
    /* Fails a call that comes while the server stops; may be NULL. If it does not fail the call, the bridge does, with
     * UNAVAILABLE. */
    void (*on_stopping)(void *arg, struct rpc_call *call);
    void *on_stopping_arg;
    /* Refuses calls of one unary method before the core reads them, which costs a tenth
     * (edge/doorstep/doorstep.h). Only without TLS, and only where the edge is. Other calls of the method, and those
     * for which `refuse` returns NULL, come as usual. A call that is refused early was allowed by `refuse` alone:
     * `allow` is not asked. Where addresses have limits (caller_limits), a call without a caller is not refused
     * early. */
    struct rpc_early {
        const char *path; /* "/package.Service/Method"; NULL: none. Must outlive the server. */
        /* Returns a refusal that stays valid until the thread calls it again, or NULL. Must not block. Any thread. May
         * itself be NULL. */
        const struct rpc_refusal *(*refuse)(void *arg, struct rpc_early_call *call);
        /* Refusals with that code and tag, n of them, are on their way. on_call_end does not run for them. */
        void (*on_refused)(void *arg, int code, uint32_t tag, int64_t n);
        void *arg;
        /* If not 0, calls of the method that are not refused are taken, too: they come as usual, but the core does not
         * know them, which saves most of what a call costs. A response may have at most this many bytes more than its
         * request, gRPC's prefix included. Calls with unusual headers, or of a client that grants no room for answers,
         * still go through the core. Not with max_connection_age_ms. The deadline of a taken call does not run the
         * function set by rpc_call_on_cancel; the client's reset does. */
        size_t answer_bytes;
    } early;
};

/* Copies `listen` and `tls`. Calls grpc_init: the process must not fork afterwards. */
bool rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret_server, struct err *err);
/* Before rpc_server_start. `impl` and `methods` must outlive the server. Fails if the service was added already, if
 * `methods` lacks a method, or if the descriptor set lacks the service or gives a method another shape. */
bool rpc_server_add(struct rpc_server *server, ProtobufCService *impl, const struct rpc_method *methods,
                    size_t n_methods, struct err *err);
/* After rpc_server_add, before rpc_server_start. `service` is the full name, `method` the short one. */
bool rpc_server_limit(struct rpc_server *server, const char *service, const char *method,
                      const struct rpc_limits *limits, struct err *err);
/* Binds, starts the pollers, accepts. */
bool rpc_server_start(struct rpc_server *server, struct err *err);
/* "127.0.0.1:50051" with the port bound; valid after start, until free. */
const char *rpc_server_address(const struct rpc_server *server);
/* Warnings for the operator about this program; NULL where there is nothing to warn of. The texts are valid for as
 * long as the process runs. Any thread.
 *
 *   rpc_missing_edge    what the server lacks without the edge (edge/edge.h)
 *   rpc_untested_core   the bridge was not tested with this version of gRPC
 *   rpc_untested_edge   the self-test of the edge had no result; after rpc_server_start */
const char *rpc_missing_edge(void);
const char *rpc_untested_core(void);
const char *rpc_untested_edge(void);
/* The version of the core in use, by the core's own numbers: "29.0.0" is gRPC 1.51.1. */
const char *rpc_core_version(void);
/* Calls in flight now. */
int64_t rpc_server_in_flight(const struct rpc_server *server);
/* Calls taken before the core since the start; see struct rpc_early. */
int64_t rpc_server_taken(const struct rpc_server *server);
/* Connections closed at once because there were too many, since the process began. */
int64_t rpc_connections_refused(void);
/* Connections cut off since the process began. */
int64_t rpc_connections_cut(enum edge_abuse abuse);
/* Refuses new calls, waits up to grace_ms for the calls in flight, closes the connections, which cancels the remaining
 * calls, waits until the services have answered these, and joins the pollers. The grace period ends early once *hurry
 * is true; `hurry` may be NULL. */
void rpc_server_stop(struct rpc_server *server, int64_t grace_ms, const atomic_bool *hurry);
/* After rpc_server_stop, or for a server that never started. NULL is fine. */
void rpc_server_free(struct rpc_server *server);

/* --- a call, as its service sees it; any thread unless said otherwise --- */

/* The call behind the closure_data of a service function. */
struct rpc_call *rpc_call_of(void *closure_data);
/* Ends the call with an error. Copies what it needs of *status. */
void rpc_call_fail(struct rpc_call *call, const struct rpc_status *status);
/* Ends a stream with OK after the messages written so far. */
void rpc_call_finish(struct rpc_call *call);
/* True once the client has cancelled or left, or the deadline has passed. */
bool rpc_call_is_cancelled(const struct rpc_call *call);
/* In microseconds, in the time of clock_mono_us(); INT64_MAX: the client has set none. */
int64_t rpc_call_deadline_us(const struct rpc_call *call);
/* `fn(arg)` runs once if the call is cancelled before it is answered: on a poller thread, or at once, on this thread,
 * if the call was cancelled already. One function per call; set it from the service function. */
void rpc_call_on_cancel(struct rpc_call *call, void (*fn)(void *arg), void *arg);
/* `fn(arg)` runs on the poller's thread when the client of a client or bidi stream has sent its last message; see
 * above. Set it from the service function. */
void rpc_call_on_half_close(struct rpc_call *call, void (*fn)(void *arg), void *arg);
/* Messages handed to the closure and not yet taken by the core. The number grows while the client does not read. */
size_t rpc_call_pending_writes(const struct rpc_call *call);
/* `fn(arg)` runs on the poller's thread each time that the core has taken all messages of a stream that has not ended,
 * or its headers where these were sent alone. One function per call; set it before the first write. */
void rpc_call_on_drained(struct rpc_call *call, void (*fn)(void *arg), void *arg);
/* The bridge receives no message after the current one until reading is resumed. Cancellation is still reported, and
 * the client's half-close after the messages before it. */
void rpc_call_pause_reading(struct rpc_call *call);
void rpc_call_resume_reading(struct rpc_call *call);
/* Copies the datum. False: too late (the headers go with the first message or the end, the trailers with the end), or
 * the core does not allow it (see struct rpc_metadatum). */
bool rpc_call_add_header(struct rpc_call *call, const struct rpc_metadatum *header);
bool rpc_call_add_trailer(struct rpc_call *call, const struct rpc_metadatum *trailer);
/* Sends the headers now. */
void rpc_call_send_headers(struct rpc_call *call);
/* Compresses messages from now on, if the client accepts that. The algorithm is fixed when the headers go out;
 * afterwards compression may be switched off and on between messages. */
void rpc_call_set_compression(struct rpc_call *call, enum rpc_compression compression);
/* Whether the current message came compressed. From the service function. */
bool rpc_call_is_compressed(const struct rpc_call *call);
/* From `allow`: `fn(arg, code, start_us, end_us)` runs once the call has ended, as on_call_end does; the times are of
 * clock_mono_us. One function per call. `arg` must live as long as the call. */
typedef void rpc_call_end_fn(void *arg, int code, int64_t start_us, int64_t end_us);
void rpc_call_on_end(struct rpc_call *call, rpc_call_end_fn *fn, void *arg);
/* The `arg` of rpc_call_on_end, or NULL. */
void *rpc_call_end_arg(const struct rpc_call *call);
/* A pointer for the service, NULL at first. One thread at a time. */
void *rpc_call_state(const struct rpc_call *call);
void rpc_call_set_state(struct rpc_call *call, void *state);
/* The first value of a lower-case key in the request's metadata, as bytes where the key ends in -bin; NULL if absent.
 * Not NUL-terminated; *ret_len is in bytes. Valid as long as the call. */
const char *rpc_call_metadata(const struct rpc_call *call, const char *key, size_t *ret_len);
/* The client's address as the core writes it: "ipv4:127.0.0.1:5000". From the service function, or `allow`. Valid as
 * long as the call. */
const char *rpc_call_peer(struct rpc_call *call);
/* Alternative name number `index`, from 0, of the client's verified certificate: a DNS name, URI or address; NULL after
 * the last one. From the service function, or `allow`. Valid as long as the call. */
const char *rpc_call_peer_name(struct rpc_call *call, size_t index);
/* From `allow`: the caller whose limits the call counts for; any number but 0. */
void rpc_call_set_caller(struct rpc_call *call, uint64_t caller);
/* From `allow`, for the service function: the one for whom the call is made, in the service's terms. 0 unless set. */
void rpc_call_set_subject(struct rpc_call *call, int64_t subject);
int64_t rpc_call_subject(const struct rpc_call *call);
/* Before the call is failed: how many ms a client waits that retries by itself (grpc-retry-pushback-ms). */
void rpc_call_retry_after(struct rpc_call *call, int64_t ms);
/* Zeroed memory that lives as long as the call. From the service function, or `allow`. */
void *rpc_call_alloc(struct rpc_call *call, size_t size);
/* Keeps the call alive until rpc_call_unref. */
void rpc_call_ref(struct rpc_call *call);
void rpc_call_unref(struct rpc_call *call);

/* Answers given between these two go out together: rpc_batch_end wakes each poller once. For code that answers many
 * calls one after the other without waiting in between. Both on the same thread; pairs may be nested. */
void rpc_batch_begin(void);
void rpc_batch_end(void);

/* --- services that come with the bridge; before rpc_server_start --- */

/* grpc.health.v1.Health with Check and Watch. The server owns it. "" is NOT_SERVING until set. */
struct rpc_health;
struct rpc_health *rpc_health_add(struct rpc_server *server, struct err *err);
/* Sets a status; "" is the server as a whole. A service never set is NOT_FOUND for Check and SERVICE_UNKNOWN for Watch.
 * Any thread. */
void rpc_health_set(struct rpc_health *health, const char *service, bool serving);
/* grpc.reflection.v1 and v1alpha over the descriptor set; lists the services added to the server. */
bool rpc_reflection_add(struct rpc_server *server, struct err *err);

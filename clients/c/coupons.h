/* SPDX-License-Identifier: Apache-2.0 */
/* A client of couponsd for C programs: blocking calls, retries, and decoded errors.
 *
 *   struct coupons_client *client;
 *   struct err err;
 *   if (!coupons_client_new("127.0.0.1:50051", &client, &err)) …err.text…
 *   Coupon__V1__RequestPublishRequest request = COUPON__V1__REQUEST_PUBLISH_REQUEST__INIT;
 *   request.coupon_id = 7; …
 *   struct coupons_failure failure;
 *   Coupon__V1__RequestPublishResponse *answer = coupons_call(client, &request.base, NULL, &failure);
 *
 * The type of the request selects the method, since each method has a request type of its own. Messages are protobuf-c
 * structs (coupon/v1/…pb-c.h). All functions may be called from any thread, and threads may share a client. For calls
 * that do not block, pass the service that coupons_service returns to the functions of rpc/client.h. The library aborts
 * the program when memory runs out. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "coupon/v1/dead_letter_admin_service.pb-c.h"
#include "coupon/v1/integrity_service.pb-c.h"
#include "coupon/v1/topic_admin_service.pb-c.h"
#include "rpc/client.h"

/* --- errors --- */

struct coupons_pair {
    char *name, *text;
};

/* How a call failed: its status, and the decoded google.rpc.Status in its details. */
struct coupons_failure {
    int code; /* enum rpc_code */
    char *message;
    char *reason;                  /* of ErrorInfo, e.g. "SOLD_OUT"; "" if the server sent none */
    struct coupons_pair *metadata; /* of ErrorInfo, e.g. coupon_id = 7 */
    size_t n_metadata;
    struct coupons_pair *fields; /* of BadRequest: a field, and what is wrong with it */
    size_t n_fields;
    int64_t retry_after_ms; /* of RetryInfo, in milliseconds; -1 if the server sent none */
};

/* Fills *failure, even if the details of the status are missing or cannot be decoded. Free it with
 * coupons_failure_deinit. */
void coupons_failure_init(struct coupons_failure *failure, const struct rpc_status *status);
void coupons_failure_deinit(struct coupons_failure *failure);
/* Returns the value of ErrorInfo's metadata with this name, or NULL if there is none. */
const char *coupons_failure_metadata(const struct coupons_failure *failure, const char *name);
/* Returns the reason, or the name of the code if there is no reason. */
const char *coupons_failure_name(const struct coupons_failure *failure);

/* --- the client --- */

struct coupons_client;

/* Creates a client without TLS. `target` is HOST:PORT, several of them separated by commas, or any gRPC target. Calls
 * take all addresses in turn, except for unreachable ones. The first call looks names up and connects. */
bool coupons_client_new(const char *target, struct coupons_client **ret_client, struct err *err);
/* The same with options: TLS, a token, limits (rpc/client.h). `options` may be NULL. Fails if a certificate file cannot
 * be used, or if a token would go over plain text to another address than loopback without plaintext_token. */
bool coupons_client_open(const char *target, const struct rpc_channel_options *options,
                         struct coupons_client **ret_client, struct err *err);
/* Ends calls in flight with CANCELLED. `client` may be NULL. */
void coupons_client_free(struct coupons_client *client);
struct rpc_channel *coupons_channel(struct coupons_client *client);
/* Returns the stub of a service, which the client owns, or NULL if the descriptor is not from coupon.v1. */
ProtobufCService *coupons_service(struct coupons_client *client, const ProtobufCServiceDescriptor *descriptor);

#define COUPONS_REQUEST_ID_SIZE 37
/* Writes a new request_id, a random UUID. Use one id for each request, and the same id for each try of that request. */
void coupons_request_id(char ret_id[static COUPONS_REQUEST_ID_SIZE]);

struct coupons_retry {
    int64_t timeout_ms;     /* for all tries together; 0: COUPONS_TIMEOUT_MS */
    int64_t try_timeout_ms; /* for each try; 0: a third of timeout_ms */
    /* Called after a failed try, `delay_ms` before the next one; may be NULL. */
    void (*on_retry)(const struct coupons_failure *failure, int64_t delay_ms, void *arg);
    void *arg;
};
#define COUPONS_TIMEOUT_MS 30000

/* Calls a unary method until it succeeds, is refused, or the time is over. `retry` may be NULL. Returns the response,
 * which the caller frees with coupons_free. Returns NULL if the call failed; the caller then frees *ret_failure with
 * coupons_failure_deinit.
 *
 * UNAVAILABLE and RESOURCE_EXHAUSTED are retried, and a try without an answer within its time: the next one may reach
 * another server. The delay is what the server asks for in RetryInfo, plus a random part of a backoff that doubles from
 * 50 ms to 2 s. The server may have executed a request that failed; because of the request_id, couponsd executes it
 * once. VerifyCoupon may need more than the time of one try: set try_timeout_ms to timeout_ms.
 *
 * If RequestPublish, CreateCoupon or AddQuantity has an empty request_id, all tries send a copy with one random id, and
 * *request stays as it is. Set an id yourself to repeat the call later. */
void *coupons_call(struct coupons_client *client, const ProtobufCMessage *request, const struct coupons_retry *retry,
                   struct coupons_failure *ret_failure);
/* The same in a single try of at most timeout_ms (0: no limit). */
void *coupons_call_once(struct coupons_client *client, const ProtobufCMessage *request, int64_t timeout_ms,
                        struct coupons_failure *ret_failure);
/* Frees a response, which may be NULL. */
void coupons_free(void *response);

/* Passes the state of a request to `on_status` whenever it changes. Returns true once the state is final. Returns false
 * and fills *ret_failure if the stream breaks or timeout_ms is over (0: no limit). `on_status` runs on a thread of the
 * client while this function waits; the status is valid until it returns. After a broken stream, call again: the new
 * stream begins with the current state. */
bool coupons_watch(struct coupons_client *client, const Coupon__V1__WatchStatusRequest *request, int64_t timeout_ms,
                   void (*on_status)(const Coupon__V1__PublishStatus *status, void *arg), void *arg,
                   struct coupons_failure *ret_failure);

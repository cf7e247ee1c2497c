/* SPDX-License-Identifier: Apache-2.0 */
/* A client of couponsd for C programs: calls that wait, retries, and what a refusal says.
 *
 *   struct coupons_client *client;
 *   struct err err;
 *   if (!coupons_client_new("127.0.0.1:50051", &client, &err)) …err.text…
 *   Coupon__V1__RequestPublishRequest request = COUPON__V1__REQUEST_PUBLISH_REQUEST__INIT;
 *   request.coupon_id = 7; …
 *   struct coupons_failure failure;
 *   Coupon__V1__RequestPublishResponse *answer = coupons_call(client, &request.base, NULL, &failure);
 *
 * Which method is meant, the type of the request says: each has one of its own. The messages are protobuf-c's
 * (coupon/v1/…pb-c.h). All of it may be used from any thread, and one client by many at once; calls that must not
 * block are in rpc/client.h, on what coupons_service returns. Where memory is missing, the program is aborted. */
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

/* --- a refusal --- */

struct coupons_pair {
    char *name, *text;
};

/* How a call failed: its status with google.rpc.Status taken apart. */
struct coupons_failure {
    int code; /* enum rpc_code */
    char *message;
    char *reason;                  /* of ErrorInfo, e.g. "SOLD_OUT"; "" where the server said none */
    struct coupons_pair *metadata; /* of ErrorInfo, e.g. coupon_id = 7 */
    size_t n_metadata;
    struct coupons_pair *fields; /* of BadRequest: field and what is wrong with it */
    size_t n_fields;
    int64_t retry_after_ms; /* of RetryInfo; -1: none */
};

/* Always fills *failure, also from no or broken details. */
void coupons_failure_init(struct coupons_failure *failure, const struct rpc_status *status);
void coupons_failure_deinit(struct coupons_failure *failure);
/* NULL where the metadata has none. */
const char *coupons_failure_metadata(const struct coupons_failure *failure, const char *name);
/* The reason, or else the name of the code. */
const char *coupons_failure_name(const struct coupons_failure *failure);

/* --- the client --- */

struct coupons_client;

/* `target`: HOST:PORT, or any gRPC target; without TLS. Does not connect yet. */
bool coupons_client_new(const char *target, struct coupons_client **ret_client, struct err *err);
/* The same with options: TLS, a token, limits; NULL for none. Fails where files of certificates can't be used. */
bool coupons_client_open(const char *target, const struct rpc_channel_options *options,
                         struct coupons_client **ret_client, struct err *err);
/* Calls that are under way end with CANCELLED. NULL is fine. */
void coupons_client_free(struct coupons_client *client);
struct rpc_channel *coupons_channel(struct coupons_client *client);
/* The stub's service, owned by the client; NULL for a descriptor that is none of coupon.v1's. */
ProtobufCService *coupons_service(struct coupons_client *client, const ProtobufCServiceDescriptor *descriptor);

#define COUPONS_REQUEST_ID_SIZE 37
/* A new request_id (a random UUID): one for each thing that is asked for, the same on each try. */
void coupons_request_id(char ret_id[static COUPONS_REQUEST_ID_SIZE]);

struct coupons_retry {
    int64_t timeout_ms; /* for all tries together; 0: COUPONS_TIMEOUT_MS */
    /* Told of each new try, `delay_ms` before it begins; may be NULL. */
    void (*on_retry)(const struct coupons_failure *failure, int64_t delay_ms, void *arg);
    void *arg;
};
#define COUPONS_TIMEOUT_MS 30000

/* Calls a unary method until it succeeds, is refused, or the time is over. Returns the response, to be freed with
 * coupons_free; NULL where it failed, *ret_failure is then to be coupons_failure_deinit'ed.
 *
 * UNAVAILABLE and RESOURCE_EXHAUSTED are tried again, after what the server asks for in RetryInfo and a random part of
 * a time that doubles from 50 ms to 2 s. UNAVAILABLE does not say whether the server has done what was asked; the
 * request_id makes couponsd do it once. If RequestPublish, CreateCoupon or AddQuantity has an empty request_id, all
 * tries send a copy with one random id, and *request stays as it is. Set an id yourself to repeat the call later. */
void *coupons_call(struct coupons_client *client, const ProtobufCMessage *request, const struct coupons_retry *retry,
                   struct coupons_failure *ret_failure);
/* The same in a single try of at most timeout_ms (0: no limit). */
void *coupons_call_once(struct coupons_client *client, const ProtobufCMessage *request, int64_t timeout_ms,
                        struct coupons_failure *ret_failure);
/* Frees a response. NULL is fine. */
void coupons_free(void *response);

/* Reads a request's state whenever it changes, until it will not change any more (true), or the stream breaks or
 * timeout_ms (0: no limit) are over (false, *ret_failure is filled). `on_status` runs on a thread of the client while
 * this waits, and the status is valid until it returns. A stream that broke may be opened again: it begins with the
 * state as it is then. */
bool coupons_watch(struct coupons_client *client, const Coupon__V1__WatchStatusRequest *request, int64_t timeout_ms,
                   void (*on_status)(const Coupon__V1__PublishStatus *status, void *arg), void *arg,
                   struct coupons_failure *ret_failure);

/* SPDX-License-Identifier: Apache-2.0 */
/* The client library, on the client side of the bridge (rpc/client.h); see coupons.h. */
#include "coupons.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "api/methods.h"
#include "base/clock.h"
#include "base/memory.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS   2000
#define TRIES_MIN        3 /* that fit into the time of a call */
#define US_PER_MS        1000

struct coupons_client {
    struct rpc_channel *channel;
    ProtobufCService *stubs[COUPON_SERVICES];
};

bool coupons_client_new(const char *target, struct coupons_client **ret_client, struct err *err) {
    return coupons_client_open(target, NULL, ret_client, err);
}

bool coupons_client_open(const char *target, const struct rpc_channel_options *options,
                         struct coupons_client **ret_client, struct err *err) {
    struct rpc_channel *channel;
    if (!rpc_channel_new(target, options, &channel, err))
        return false;
    struct coupons_client *client = memory_new(1, sizeof *client);
    client->channel = channel;
    for (size_t i = 0; i < COUPON_SERVICES; i++)
        client->stubs[i] = rpc_channel_service(channel, coupon_services[i].descriptor, coupon_services[i].methods,
                                               coupon_services[i].n_methods);
    *ret_client = client;
    return true;
}

void coupons_client_free(struct coupons_client *client) {
    if (!client)
        return;
    rpc_channel_free(client->channel);
    free(client);
}

struct rpc_channel *coupons_channel(struct coupons_client *client) {
    return client->channel;
}

ProtobufCService *coupons_service(struct coupons_client *client, const ProtobufCServiceDescriptor *descriptor) {
    for (size_t i = 0; i < COUPON_SERVICES; i++)
        if (coupon_services[i].descriptor == descriptor)
            return client->stubs[i];
    return NULL;
}

static void random_bytes(void *ret_bytes, size_t n) {
    if (getrandom(ret_bytes, n, 0) != (ssize_t)n)
        abort(); /* a defect: getrandom() always fills up to 256 bytes */
}

void coupons_request_id(char ret_id[static COUPONS_REQUEST_ID_SIZE]) {
    unsigned char b[16];
    random_bytes(b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0F) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
    snprintf(ret_id, COUPONS_REQUEST_ID_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* --- one call --- */

static void fail(struct coupons_failure *ret_failure, int code, const char *message) {
    coupons_failure_init(ret_failure, &(struct rpc_status){.code = code, .message = message});
}

/* Calls the method that takes requests of this type, and waits until the call ends. `on_message` receives the responses
 * meanwhile. */
static bool call(struct coupons_client *client, const ProtobufCMessage *request, int64_t timeout_ms,
                 void (*on_message)(const ProtobufCMessage *message, void *arg), void *arg,
                 struct coupons_failure *ret_failure) {
    for (size_t i = 0; i < COUPON_SERVICES; i++)
        for (unsigned m = 0; m < coupon_services[i].descriptor->n_methods; m++) {
            if (coupon_services[i].descriptor->methods[m].input != request->descriptor)
                continue;
            struct rpc_status status;
            if (rpc_client_call_wait(client->stubs[i], m, request, timeout_ms, &(struct rpc_reader){on_message, arg},
                                     &status))
                return true;
            coupons_failure_init(ret_failure, &status);
            rpc_status_deinit(&status);
            return false;
        }
    char text[200];
    snprintf(text, sizeof text, "%s is not the request of any method of coupon.v1", request->descriptor->name);
    fail(ret_failure, RPC_INVALID_ARGUMENT, text);
    return false;
}

/* Keeps a copy, since the message is valid only until the callback returns. protobuf-c has no function that copies. */
static void keep_copy(const ProtobufCMessage *message, void *arg) {
    ProtobufCMessage **ret = arg;
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = memory_new(size + 1, 1);
    protobuf_c_message_pack(message, bytes);
    coupons_free(*ret); /* if there are several, the last one is kept */
    *ret = memory_must(protobuf_c_message_unpack(message->descriptor, NULL, size, bytes));
    free(bytes);
}

void *coupons_call_once(struct coupons_client *client, const ProtobufCMessage *request, int64_t timeout_ms,
                        struct coupons_failure *ret_failure) {
    ProtobufCMessage *response = NULL;
    if (call(client, request, timeout_ms, keep_copy, &response, ret_failure))
        return response;
    coupons_free(response);
    return NULL;
}

void coupons_free(void *response) {
    if (response)
        protobuf_c_message_free_unpacked(response, NULL);
}

/* --- retries --- */

static bool is_retriable(int code) {
    return code == RPC_UNAVAILABLE || code == RPC_RESOURCE_EXHAUSTED || code == RPC_DEADLINE_EXCEEDED;
}

/* Returns the delay that the server asks for, plus a random part: clients that were refused at the same time should not
 * all return at the same time. */
static int64_t delay_before_retry(const struct coupons_failure *failure, int64_t backoff_ms) {
    uint32_t random;
    random_bytes(&random, sizeof random);
    int64_t asked_ms = failure->retry_after_ms > 0 ? failure->retry_after_ms : 0;
    return asked_ms + (int64_t)(random % (uint32_t)(backoff_ms + 1));
}

static void sleep_until(int64_t mono_us) {
    int64_t left_us;
    while ((left_us = mono_us - clock_mono_us()) > 0)
        clock_sleep_us(left_us);
}

/* Returns a shallow copy of the request with `request_id`, which the caller frees with free(). Returns NULL if the
 * request has an id already, or if its type has no such field. */
static ProtobufCMessage *copy_with_request_id(const ProtobufCMessage *request, char *request_id) {
    const ProtobufCMessageDescriptor *type = request->descriptor;
    if (type != &coupon__v1__request_publish_request__descriptor &&
        type != &coupon__v1__create_coupon_request__descriptor && type != &coupon__v1__add_quantity_request__descriptor)
        return NULL;
    size_t offset = protobuf_c_message_descriptor_get_field_by_name(type, "request_id")->offset;
    const char *given;
    memcpy(&given, (const char *)request + offset, sizeof given);
    if (given && *given)
        return NULL;
    char *copy = memory_new(1, type->sizeof_message);
    memcpy(copy, request, type->sizeof_message);
    memcpy(copy + offset, &request_id, sizeof request_id);
    return (ProtobufCMessage *)(void *)copy;
}

static void *call_until_answered(struct coupons_client *client, const ProtobufCMessage *request,
                                 const struct coupons_retry *retry, struct coupons_failure *ret_failure) {
    int64_t timeout_ms = retry && retry->timeout_ms > 0 ? retry->timeout_ms : COUPONS_TIMEOUT_MS;
    int64_t try_ms = retry && retry->try_timeout_ms > 0 ? retry->try_timeout_ms : timeout_ms / TRIES_MIN;
    int64_t end_us = clock_mono_us() + timeout_ms * US_PER_MS, backoff_ms = BACKOFF_FIRST_MS;
    for (;;) {
        int64_t left_ms = (end_us - clock_mono_us()) / US_PER_MS, time_ms = left_ms < try_ms ? left_ms : try_ms;
        void *response = coupons_call_once(client, request, time_ms > 0 ? time_ms : 1, ret_failure);
        if (response || !is_retriable(ret_failure->code))
            return response;
        int64_t delay_ms = delay_before_retry(ret_failure, backoff_ms);
        int64_t next_us = clock_mono_us() + delay_ms * US_PER_MS;
        if (next_us >= end_us)
            return NULL;
        if (retry && retry->on_retry)
            retry->on_retry(ret_failure, delay_ms, retry->arg);
        coupons_failure_deinit(ret_failure);
        sleep_until(next_us);
        backoff_ms = 2 * backoff_ms < BACKOFF_MAX_MS ? 2 * backoff_ms : BACKOFF_MAX_MS;
    }
}

void *coupons_call(struct coupons_client *client, const ProtobufCMessage *request, const struct coupons_retry *retry,
                   struct coupons_failure *ret_failure) {
    char request_id[COUPONS_REQUEST_ID_SIZE];
    coupons_request_id(request_id);
    ProtobufCMessage *copy = copy_with_request_id(request, request_id);
    void *response = call_until_answered(client, copy ? copy : request, retry, ret_failure);
    free(copy);
    return response;
}

/* --- a stream --- */

struct watching {
    void (*on_status)(const Coupon__V1__PublishStatus *status, void *arg);
    void *arg;
};

static void on_change(const ProtobufCMessage *message, void *arg) {
    const struct watching *watching = arg;
    const Coupon__V1__WatchStatusResponse *change = (const Coupon__V1__WatchStatusResponse *)message;
    if (change->status)
        watching->on_status(change->status, watching->arg);
}

bool coupons_watch(struct coupons_client *client, const Coupon__V1__WatchStatusRequest *request, int64_t timeout_ms,
                   void (*on_status)(const Coupon__V1__PublishStatus *status, void *arg), void *arg,
                   struct coupons_failure *ret_failure) {
    struct watching watching = {on_status, arg};
    return call(client, &request->base, timeout_ms, on_change, &watching, ret_failure);
}

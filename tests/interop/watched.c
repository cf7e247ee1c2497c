/* SPDX-License-Identifier: Apache-2.0 */
#include "watched.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE_S 60

static void on_headers(struct rpc_client_call *call) {
    struct watched *watched = (struct watched *)call;
    size_t len = 0;
    const char *value = rpc_client_call_header(call, "x-grpc-test-echo-initial", &len);
    pthread_mutex_lock(&watched->lock);
    watched->has_headers = true;
    if (value && len < sizeof watched->header)
        memcpy(watched->header, value, len);
    pthread_cond_broadcast(&watched->changed);
    pthread_mutex_unlock(&watched->lock);
}

static void on_done(struct rpc_client_call *call, const struct rpc_status *status) {
    struct watched *watched = (struct watched *)call;
    size_t len = 0;
    const char *header = rpc_client_call_header(call, "x-grpc-test-echo-initial", &len);
    pthread_mutex_lock(&watched->lock);
    if (header && len < sizeof watched->header)
        memcpy(watched->header, header, len);
    const char *trailer = rpc_client_call_trailer(call, "x-grpc-test-echo-trailing-bin", &len);
    if (trailer && len <= sizeof watched->trailer) {
        memcpy(watched->trailer, trailer, len);
        watched->trailer_len = len;
    }
    watched->code = status->code;
    snprintf(watched->message, sizeof watched->message, "%s", status->message ? status->message : "");
    watched->is_done = true;
    pthread_cond_broadcast(&watched->changed);
    pthread_mutex_unlock(&watched->lock);
}

void watched_init(struct watched *watched) {
    *watched = (struct watched){.call = {.done = on_done, .on_headers = on_headers}};
    pthread_mutex_init(&watched->lock, NULL);
    pthread_cond_init(&watched->changed, NULL);
}

static void came(struct watched *watched, size_t size) {
    pthread_mutex_lock(&watched->lock);
    if (watched->n < MESSAGES_MAX) {
        watched->sizes[watched->n] = size;
        watched->compressed[watched->n] = rpc_client_call_is_compressed(&watched->call);
    }
    watched->n++;
    pthread_cond_broadcast(&watched->changed);
    pthread_mutex_unlock(&watched->lock);
}

static size_t size_of(const Grpc__Testing__Payload *payload) {
    return payload ? payload->body.len : 0;
}

void watched_on_simple(const Grpc__Testing__SimpleResponse *response, void *watched) {
    came(watched, size_of(response->payload));
}

void watched_on_empty(const Grpc__Testing__Empty *response, void *watched) {
    (void)response;
    came(watched, 0);
}

void watched_on_input(const Grpc__Testing__StreamingInputCallResponse *response, void *watched) {
    came(watched, (size_t)response->aggregated_payload_size);
}

void watched_on_output(const Grpc__Testing__StreamingOutputCallResponse *response, void *watched) {
    came(watched, size_of(response->payload));
}

/* Lock held. */
static void wait_for_change(struct watched *watched, const struct timespec *until) {
    if (pthread_cond_timedwait(&watched->changed, &watched->lock, until)) {
        puts("FAILED: timed out");
        exit(1);
    }
}

static struct timespec patience(void) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    return until;
}

size_t watched_wait_for_messages(struct watched *watched, size_t n) {
    struct timespec until = patience();
    pthread_mutex_lock(&watched->lock);
    while (watched->n < n && !watched->is_done)
        wait_for_change(watched, &until);
    n = watched->n;
    pthread_mutex_unlock(&watched->lock);
    return n;
}

void watched_wait(struct watched *watched) {
    struct timespec until = patience();
    pthread_mutex_lock(&watched->lock);
    while (!watched->is_done)
        wait_for_change(watched, &until);
    pthread_mutex_unlock(&watched->lock);
}

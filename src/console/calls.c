/* SPDX-License-Identifier: Apache-2.0 */
/* The calls; see calls.h. `lock` guards the lines. A call runs on a poller of the server from invoke to done, and is
 * freed there. */
#include "console/calls.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/methods.h"
#include "api/services.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "console/answer.h"
#include "console/json.h"
#include "console/params.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "rpc/local.h"

#define TIMEOUT_MS    60000
#define CALLS_MAX     16 /* in flight; more would keep probes from connecting (http/http.c) */
#define GRACE_US      (2 * US_PER_S)
#define GRACE_TICK_US (10 * US_PER_MS)
#define JSON_MAX      (4 << 20)
#define METADATA_MAX  2
#define AUTHORIZATION "authorization"

/* A connection to the server, and the calls that run over it. */
struct line {
    struct line *next;
    struct rpc_channel *channel;
    size_t n_calls;
    bool is_lost; /* new calls need another one */
};

struct calls {
    struct rpc_server *server;
    pthread_mutex_t lock; /* guards what follows */
    struct line *lines;   /* the first one takes new calls */
    size_t n_calls;
    bool has_ended;
};

struct call {
    struct rpc_client_call base; /* first: the closure gets a pointer to it */
    struct calls *calls;
    struct line *line;
    struct http_request *request;
    struct strbuf json;
};

static bool add_line(struct calls *calls, struct err *err) {
    struct line *line = memory_new(1, sizeof *line);
    if (!rpc_channel_new_local(calls->server, &line->channel, err)) {
        free(line);
        return false;
    }
    pthread_mutex_lock(&calls->lock);
    line->next = calls->lines;
    calls->lines = line;
    pthread_mutex_unlock(&calls->lock);
    return true;
}

bool calls_new(struct rpc_server *server, struct calls **ret_calls, struct err *err) {
    struct calls *calls = memory_new(1, sizeof *calls);
    *calls = (struct calls){.server = server};
    pthread_mutex_init(&calls->lock, NULL);
    if (!add_line(calls, err)) {
        calls_free(calls);
        return false;
    }
    *ret_calls = calls;
    return true;
}

/* Frees lines: those that are lost and have no calls, or all. */
static void free_lines(struct calls *calls, bool all) {
    struct line *gone = NULL;
    pthread_mutex_lock(&calls->lock);
    for (struct line **at = &calls->lines; *at;) {
        struct line *line = *at;
        if (all || (line->is_lost && line->n_calls == 0)) {
            *at = line->next;
            line->next = gone;
            gone = line;
        } else {
            at = &line->next;
        }
    }
    pthread_mutex_unlock(&calls->lock);
    while (gone) {
        struct line *line = gone;
        gone = line->next;
        rpc_channel_free(line->channel); /* runs the `done` of its calls, so without our lock */
        free(line);
    }
}

void calls_mend(struct calls *calls) {
    pthread_mutex_lock(&calls->lock);
    bool is_lost = !calls->lines || calls->lines->is_lost;
    pthread_mutex_unlock(&calls->lock);
    if (is_lost)
        add_line(calls, NULL);
    free_lines(calls, false);
}

static size_t end_calls(struct calls *calls) {
    pthread_mutex_lock(&calls->lock);
    calls->has_ended = true;
    size_t n = calls->n_calls;
    pthread_mutex_unlock(&calls->lock);
    return n;
}

void calls_end(struct calls *calls) {
    int64_t until_us = clock_mono_us() + GRACE_US;
    while (end_calls(calls) > 0 && clock_mono_us() < until_us)
        clock_sleep_us(GRACE_TICK_US);
    free_lines(calls, true);
}

void calls_free(struct calls *calls) {
    if (!calls)
        return;
    free_lines(calls, true);
    pthread_mutex_destroy(&calls->lock);
    free(calls);
}

/* --- which --- */

struct target {
    const struct coupon_service_methods *service;
    unsigned index; /* of the method */
};

static bool find(const char *name, struct target *ret) {
    const char *slash = strchr(name, '/');
    size_t len = slash ? (size_t)(slash - name) : 0;
    for (size_t i = 0; i < COUPON_SERVICES && slash; i++) {
        const ProtobufCServiceDescriptor *descriptor = coupon_services[i].descriptor;
        if (strlen(descriptor->short_name) != len || memcmp(descriptor->short_name, name, len) != 0)
            continue;
        for (unsigned method = 0; method < descriptor->n_methods; method++)
            if (strcmp(descriptor->methods[method].name, slash + 1) == 0 &&
                coupon_services[i].methods[method].shape == RPC_UNARY) {
                *ret = (struct target){&coupon_services[i], method};
                return true;
            }
    }
    return false;
}

enum calls_kind calls_kind_of(const char *name) {
    struct target target;
    if (!find(name, &target))
        return CALLS_UNKNOWN;
    const ProtobufCServiceDescriptor *descriptor = target.service->descriptor;
    unsigned roles = api_roles_of(descriptor->name, descriptor->methods[target.index].name);
    return roles & ROLE_OBSERVER ? CALLS_READ : roles & ROLE_ADMIN ? CALLS_CHANGE : CALLS_UNKNOWN;
}

/* --- errors --- */

/* Copies the reason of the status' details into `ret`, or "". */
static void read_reason(const struct rpc_status *status, char *ret, size_t size) {
    *ret = '\0';
    Google__Rpc__Status *details =
        status->details ? google__rpc__status__unpack(NULL, status->details_len, status->details) : NULL;
    for (size_t i = 0; details && i < details->n_details; i++) {
        const Google__Protobuf__Any *any = details->details[i];
        if (strcmp(any->type_url, "type.googleapis.com/google.rpc.ErrorInfo") != 0)
            continue;
        Google__Rpc__ErrorInfo *info = google__rpc__error_info__unpack(NULL, any->value.len, any->value.data);
        if (info)
            snprintf(ret, size, "%s", info->reason);
        google__rpc__error_info__free_unpacked(info, NULL);
    }
    google__rpc__status__free_unpacked(details, NULL);
}

/* --- a call --- */

static void on_message(const ProtobufCMessage *message, void *closure_data) {
    struct call *call = closure_data;
    json_message(&call->json, message);
}

/* The call is over. An error of the service has details; one of the connection has none. */
static void leave_line(struct call *call, const struct rpc_status *status) {
    struct calls *calls = call->calls;
    pthread_mutex_lock(&calls->lock);
    call->line->n_calls--;
    call->line->is_lost |= status->code == RPC_UNAVAILABLE && !status->details;
    calls->n_calls--;
    pthread_mutex_unlock(&calls->lock);
}

static void on_done(struct rpc_client_call *base, const struct rpc_status *status) {
    struct call *call = (struct call *)base;
    char reason[64];
    read_reason(status, reason, sizeof reason);
    if (status->code == RPC_OK && call->json.data)
        answer_json(call->request, &call->json);
    else if (status->code == RPC_CANCELLED)
        answer_error(call->request, RPC_CANCELLED, "STOPPING",
                     "couponsd is stopping; a change may have been made: look again");
    else
        answer_error(call->request, status->code == RPC_OK ? RPC_INTERNAL : status->code, reason,
                     status->message ? status->message : "");
    leave_line(call, status);
    strbuf_deinit(&call->json);
    free(call);
}

static size_t fill_metadata(const struct http_request *request, const char *peer, struct rpc_metadatum *ret) {
    const char *authorization = http_request_header(request, AUTHORIZATION);
    size_t n = 0;
    ret[n++] = (struct rpc_metadatum){RPC_LOCAL_PEER, peer, strlen(peer)};
    if (authorization)
        ret[n++] = (struct rpc_metadatum){AUTHORIZATION, authorization, strlen(authorization)};
    return n;
}

static void begin(struct calls *calls, struct http_request *request, const struct target *target,
                  const ProtobufCMessage *message) {
    char peer[HTTP_PEER_SIZE], said[RPC_LOCAL_PEER_SIZE];
    struct rpc_metadatum metadata[METADATA_MAX];
    struct call *call = memory_new(1, sizeof *call);
    http_request_peer(request, peer);
    rpc_local_peer(calls->server, peer, said);
    *call = (struct call){
        .base = {.timeout_ms = TIMEOUT_MS,
                 .max_call_bytes = JSON_MAX,
                 .done = on_done,
                 .metadata = metadata,
                 .n_metadata = fill_metadata(request, said, metadata)},
        .calls = calls,
        .request = request,
    };
    pthread_mutex_lock(&calls->lock);
    struct line *line = calls->has_ended || calls->n_calls >= CALLS_MAX ? NULL : calls->lines;
    bool has_ended = calls->has_ended || !calls->lines;
    if (line) {
        call->line = line;
        line->n_calls++;
        calls->n_calls++;
        http_request_defer(request);
        const struct coupon_service_methods *methods = target->service;
        ProtobufCService *service =
            rpc_channel_service(line->channel, methods->descriptor, methods->methods, methods->n_methods);
        service->invoke(service, target->index, message, on_message, &call->base);
    }
    pthread_mutex_unlock(&calls->lock);
    if (line)
        return;
    answer_error(request, has_ended ? RPC_UNAVAILABLE : RPC_RESOURCE_EXHAUSTED, has_ended ? "STOPPING" : "OVERLOADED",
                 has_ended ? "couponsd is stopping" : "too many people use the console; try again");
    free(call);
}

void calls_make(struct calls *calls, struct http_request *request, const char *name) {
    struct target target;
    struct arena arena;
    struct err err;
    if (!find(name, &target))
        return;
    arena_init(&arena, 4096);
    ProtobufCMessage *message;
    if (params_read(request, target.service->descriptor->methods[target.index].input, &arena, &message, &err))
        begin(calls, request, &target, message);
    else
        answer_error(request, RPC_INVALID_ARGUMENT, "INVALID_FIELD", err.text);
    arena_deinit(&arena);
}

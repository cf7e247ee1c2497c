/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.health.v1.Health: Check answers with the status that was set last. Watch sends it at once, and then each change.
 *
 * `lock` guards everything. It is held while watchers are written to, so that each of them sees the changes in order. A
 * call's lock is taken inside of it, never the other way round. A watcher lives in its call's memory. It is listed from
 * Watch until its call is cancelled or the server stops. The thread that takes it off the list ends the call. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "grpc/health/v1/health.pb-c.h"
#include "rpc/call.h"

#define RESPONSE_INIT GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT
#define UNKNOWN       GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN
#define SERVING       GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING   GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus health_status;

struct watched {
    struct watched *next;
    char *service;
    health_status status;
};

struct watcher {
    struct watcher *previous, *next;
    struct rpc_health *health;
    struct rpc_call *call;
    Grpc__Health__V1__HealthCheckResponse_Closure write;
    const char *service;
    bool is_listed;
};

struct rpc_health {
    Grpc__Health__V1__Health_Service service; /* first: service functions get a pointer to it */
    pthread_mutex_t lock;
    struct watched *services;
    struct watcher *watchers;
};

static struct watched *find(struct rpc_health *health, const char *service) {
    struct watched *each = health->services;
    while (each && strcmp(each->service, service) != 0)
        each = each->next;
    return each;
}

static void check(Grpc__Health__V1__Health_Service *service, const Grpc__Health__V1__HealthCheckRequest *input,
                  Grpc__Health__V1__HealthCheckResponse_Closure closure, void *closure_data) {
    struct rpc_health *health = (struct rpc_health *)service;
    pthread_mutex_lock(&health->lock);
    const struct watched *found = find(health, input->service);
    Grpc__Health__V1__HealthCheckResponse response = RESPONSE_INIT;
    if (found)
        response.status = found->status;
    pthread_mutex_unlock(&health->lock);
    if (found)
        closure(&response, closure_data);
    else
        call_refuse(rpc_call_of(closure_data), RPC_NOT_FOUND, "unknown service %.200s", input->service);
}

static void tell(const struct watcher *watcher, health_status status) {
    Grpc__Health__V1__HealthCheckResponse response = RESPONSE_INIT;
    response.status = status;
    watcher->write(&response, watcher->call);
}

/* Takes the watcher off the list. False: it was not on it. */
static bool take_out(struct watcher *watcher) {
    struct rpc_health *health = watcher->health;
    pthread_mutex_lock(&health->lock);
    bool was_listed = watcher->is_listed;
    if (was_listed) {
        *(watcher->previous ? &watcher->previous->next : &health->watchers) = watcher->next;
        if (watcher->next)
            watcher->next->previous = watcher->previous;
        watcher->is_listed = false;
    }
    pthread_mutex_unlock(&health->lock);
    return was_listed;
}

/* Runs when the client has left and reads no status any more, or when the server stops. */
static void end_watch(void *arg) {
    struct watcher *watcher = arg;
    if (take_out(watcher))
        call_refuse(watcher->call, RPC_UNAVAILABLE, STOPPING_TEXT);
}

static void watch(Grpc__Health__V1__Health_Service *service, const Grpc__Health__V1__HealthCheckRequest *input,
                  Grpc__Health__V1__HealthCheckResponse_Closure closure, void *closure_data) {
    struct rpc_health *health = (struct rpc_health *)service;
    struct rpc_call *call = rpc_call_of(closure_data);
    struct watcher *watcher = rpc_call_alloc(call, sizeof *watcher);
    pthread_mutex_lock(&health->lock);
    *watcher = (struct watcher){.next = health->watchers,
                                .health = health,
                                .call = call,
                                .write = closure,
                                .service = input->service,
                                .is_listed = true};
    if (watcher->next)
        watcher->next->previous = watcher;
    health->watchers = watcher;
    const struct watched *found = find(health, watcher->service);
    tell(watcher, found ? found->status : UNKNOWN);
    pthread_mutex_unlock(&health->lock);
    if (!call_on_cancel(call, end_watch, watcher)) /* meanwhile the server has begun to stop, and has ended the call */
        take_out(watcher);
}

/* Lock held. */
static struct watched *find_or_add(struct rpc_health *health, const char *service) {
    struct watched *found = find(health, service);
    if (found)
        return found;
    struct watched *added = memory_new(1, sizeof *added);
    added->service = memory_copy(service);
    added->status = UNKNOWN;
    added->next = health->services;
    health->services = added;
    return added;
}

void rpc_health_set(struct rpc_health *health, const char *service, bool serving) {
    health_status status = serving ? SERVING : NOT_SERVING;
    pthread_mutex_lock(&health->lock);
    struct watched *found = find_or_add(health, service);
    if (found->status != status) {
        found->status = status;
        for (const struct watcher *each = health->watchers; each; each = each->next)
            if (strcmp(each->service, service) == 0)
                tell(each, status);
    }
    pthread_mutex_unlock(&health->lock);
}

static void health_free(void *object) {
    struct rpc_health *health = object;
    while (health->services) {
        struct watched *each = health->services;
        health->services = each->next;
        free(each->service);
        free(each);
    }
    pthread_mutex_destroy(&health->lock);
    free(health);
}

struct rpc_health *rpc_health_add(struct rpc_server *server, struct err *err) {
    static const struct rpc_method methods[] = {{"Check", RPC_UNARY}, {"Watch", RPC_SERVER_STREAM}};
    struct rpc_health *health = memory_new(1, sizeof *health);
    const struct bridge_service own = {.object = health, .free = health_free};
    pthread_mutex_init(&health->lock, NULL);
    grpc__health__v1__health__init(&health->service, NULL);
    health->service.check = check;
    health->service.watch = watch;
    if (!server_add(server, &health->service.base, methods, sizeof methods / sizeof methods[0], &own, err)) {
        health_free(health);
        return NULL;
    }
    rpc_health_set(health, "", false);
    return health;
}

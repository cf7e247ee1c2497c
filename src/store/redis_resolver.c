/* SPDX-License-Identifier: Apache-2.0 */
/* Lookups of names; see redis_resolver.h. A lookup belongs to its thread and to the resolver, and the one that leaves
 * last frees it. */
#include "store/redis_resolver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

struct lookup {
    struct lookup *next; /* the resolver's */
    char host[REDIS_HOST_SIZE], port[8];
    pthread_mutex_t lock; /* guards the fields below */
    pthread_cond_t done;
    int owners;
    bool is_done;
    int result; /* as getaddrinfo's */
    struct addrinfo *found;
};

struct redis_resolver {
    struct lookup *lookups; /* those whose result nobody has taken yet, at most one per host and port */
};

struct redis_resolver *redis_resolver_new(void) {
    return memory_new(1, sizeof(struct redis_resolver));
}

static void leave(struct lookup *lookup) {
    pthread_mutex_lock(&lookup->lock);
    bool is_last = --lookup->owners == 0;
    pthread_mutex_unlock(&lookup->lock);
    if (!is_last)
        return;
    if (lookup->found)
        freeaddrinfo(lookup->found);
    pthread_cond_destroy(&lookup->done);
    pthread_mutex_destroy(&lookup->lock);
    free(lookup);
}

void redis_resolver_free(struct redis_resolver *resolver) {
    if (!resolver)
        return;
    while (resolver->lookups) {
        struct lookup *lookup = resolver->lookups;
        resolver->lookups = lookup->next;
        leave(lookup);
    }
    free(resolver);
}

static int look_up(const char *host, const char *port, int flags, struct addrinfo **ret_found) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    return getaddrinfo(host, port, &hints, ret_found);
}

static void *run(void *arg) {
    struct lookup *lookup = arg;
    struct addrinfo *found = NULL;
    int result = look_up(lookup->host, lookup->port, 0, &found);
    pthread_mutex_lock(&lookup->lock);
    lookup->result = result;
    lookup->found = result == 0 ? found : NULL;
    lookup->is_done = true;
    pthread_cond_signal(&lookup->done);
    pthread_mutex_unlock(&lookup->lock);
    leave(lookup);
    return NULL;
}

static struct lookup *start(const char *host, const char *port, struct err *err) {
    struct lookup *lookup = memory_new(1, sizeof *lookup);
    pthread_t thread;
    snprintf(lookup->host, sizeof lookup->host, "%s", host);
    snprintf(lookup->port, sizeof lookup->port, "%s", port);
    lookup->owners = 2;
    pthread_mutex_init(&lookup->lock, NULL);
    thread_cond_init_monotonic(&lookup->done);
    if (!thread_start("resolve", run, lookup, &thread, err)) {
        lookup->owners = 1;
        leave(lookup);
        return NULL;
    }
    pthread_detach(thread);
    return lookup;
}

static bool wait_for(struct lookup *lookup, int64_t until_us) {
    struct timespec until = clock_mono_timespec(until_us);
    pthread_mutex_lock(&lookup->lock);
    while (!lookup->is_done && pthread_cond_timedwait(&lookup->done, &lookup->lock, &until) == 0)
        ;
    bool is_done = lookup->is_done;
    pthread_mutex_unlock(&lookup->lock);
    return is_done;
}

bool redis_resolve(struct redis_resolver *resolver, const struct redis_address *address, int64_t until_us,
                   struct addrinfo **ret_found, struct err *err) {
    char port[8];
    snprintf(port, sizeof port, "%d", address->port);
    if (look_up(address->host, port, AI_NUMERICHOST, ret_found) == 0)
        return true;
    struct lookup **at = &resolver->lookups;
    while (*at && (strcmp((*at)->host, address->host) != 0 || strcmp((*at)->port, port) != 0))
        at = &(*at)->next;
    if (!*at && !(*at = start(address->host, port, err)))
        return false;
    struct lookup *lookup = *at;
    if (!wait_for(lookup, until_us))
        return err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "%s:%d: no name server has answered yet", address->host,
                       address->port);
    *at = lookup->next;
    bool ok = lookup->result == 0;
    if (ok)
        *ret_found = lookup->found;
    else
        err_set(err, ERR_UNAVAILABLE, BACKEND_REDIS, "%s:%d: the name can't be resolved: %s", address->host,
                address->port, gai_strerror(lookup->result));
    lookup->found = NULL;
    leave(lookup);
    return ok;
}

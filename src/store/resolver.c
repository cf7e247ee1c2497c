/* SPDX-License-Identifier: Apache-2.0 */
/* Lookups of names; see resolver.h. A lookup belongs to its thread and to the resolver, and the one that leaves last
 * frees it. */
#include "store/resolver.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

/* If the first name server is down, each lookup takes some seconds, and the caller may ask again only for its next
 * request. */
#define RESULT_AGE_MAX_US  (30 * US_PER_S)
#define FAILURE_AGE_MAX_US US_PER_S

struct lookup {
    struct lookup *next; /* the resolver's */
    char *host, port[8];
    int done_fd;          /* an eventfd, readable once is_done is set */
    pthread_mutex_t lock; /* guards the fields below */
    int owners;
    bool is_done;
    int64_t done_us; /* monotonic */
    int result;      /* as getaddrinfo's */
    struct addrinfo *found;
};

struct resolver {
    struct lookup *lookups; /* those whose result nobody has taken yet, at most one per host and port */
};

const char resolver_no_answer[] = "no name server has answered yet";

struct resolver *resolver_new(void) {
    return memory_new(1, sizeof(struct resolver));
}

static void leave(struct lookup *lookup) {
    pthread_mutex_lock(&lookup->lock);
    bool is_last = --lookup->owners == 0;
    pthread_mutex_unlock(&lookup->lock);
    if (!is_last)
        return;
    if (lookup->found)
        freeaddrinfo(lookup->found);
    if (lookup->done_fd >= 0)
        close(lookup->done_fd);
    pthread_mutex_destroy(&lookup->lock);
    free(lookup->host);
    free(lookup);
}

void resolver_free(struct resolver *resolver) {
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
    lookup->done_us = clock_mono_us();
    lookup->is_done = true;
    (void)eventfd_write(lookup->done_fd, 1);
    pthread_mutex_unlock(&lookup->lock);
    leave(lookup);
    return NULL;
}

static struct lookup *start(const char *host, const char *port, struct err *err) {
    struct lookup *lookup = memory_new(1, sizeof *lookup);
    pthread_t thread;
    lookup->host = memory_copy(host);
    snprintf(lookup->port, sizeof lookup->port, "%s", port);
    lookup->owners = 2;
    lookup->done_fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&lookup->lock, NULL);
    bool ok = lookup->done_fd >= 0 || err_set(err, ERR_UNAVAILABLE, BACKEND_NONE, "%s", strerror(errno));
    if (!ok || !thread_start("resolve", run, lookup, &thread, err)) {
        lookup->owners = 1;
        leave(lookup);
        return NULL;
    }
    pthread_detach(thread);
    return lookup;
}

/* Returns where the lookup of this name is, or where it is to be added. Drops a result that is too old. */
static struct lookup **find(struct resolver *resolver, const char *host, const char *port) {
    struct lookup **at = &resolver->lookups;
    while (*at && (strcmp((*at)->host, host) != 0 || strcmp((*at)->port, port) != 0))
        at = &(*at)->next;
    struct lookup *lookup = *at;
    if (!lookup)
        return at;
    pthread_mutex_lock(&lookup->lock);
    int64_t age_max_us = lookup->is_done && lookup->result != 0 ? FAILURE_AGE_MAX_US : RESULT_AGE_MAX_US;
    bool is_old = lookup->is_done && clock_mono_us() - lookup->done_us > age_max_us;
    pthread_mutex_unlock(&lookup->lock);
    if (is_old) {
        *at = lookup->next;
        leave(lookup);
    }
    return is_old ? find(resolver, host, port) : at;
}

enum resolver_state resolver_ask(struct resolver *resolver, const char *host, int port, struct addrinfo **ret_found,
                                 int *ret_fd, struct err *err) {
    char text[8];
    snprintf(text, sizeof text, "%d", port);
    if (look_up(host, text, AI_NUMERICHOST, ret_found) == 0)
        return RESOLVER_FOUND;
    struct lookup **at = find(resolver, host, text);
    if (!*at && !(*at = start(host, text, err)))
        return RESOLVER_FAILED;
    struct lookup *lookup = *at;
    pthread_mutex_lock(&lookup->lock);
    bool is_done = lookup->is_done;
    pthread_mutex_unlock(&lookup->lock);
    if (!is_done) {
        *ret_fd = lookup->done_fd;
        return RESOLVER_PENDING;
    }
    *at = lookup->next;
    bool ok = lookup->result == 0;
    if (ok)
        *ret_found = lookup->found;
    else
        err_set(err, ERR_UNAVAILABLE, BACKEND_NONE, "the name can't be resolved: %s", gai_strerror(lookup->result));
    lookup->found = NULL;
    leave(lookup);
    return ok ? RESOLVER_FOUND : RESOLVER_FAILED;
}

bool resolver_wait(struct resolver *resolver, const char *host, int port, int64_t until_us, struct addrinfo **ret_found,
                   struct err *err) {
    for (;;) {
        int fd = -1;
        enum resolver_state state = resolver_ask(resolver, host, port, ret_found, &fd, err);
        if (state != RESOLVER_PENDING)
            return state == RESOLVER_FOUND;
        int64_t left_us = until_us - clock_mono_us();
        if (left_us <= 0)
            return err_set(err, ERR_UNAVAILABLE, BACKEND_NONE, "%s", resolver_no_answer);
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        (void)poll(&pollfd, 1, (int)(left_us / US_PER_MS + 1));
    }
}

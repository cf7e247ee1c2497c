/* SPDX-License-Identifier: Apache-2.0 */
/* Resolves the names of servers. getaddrinfo has no time limit: if no name server answers, it takes 10 s and more. So
 * it runs on a thread of its own. If the caller's time is over first, the lookup goes on, and a later call for the same
 * name gets its result. A result that is older than 30 s is not used, since addresses change, nor a
 * failure that is older than 1 s. An IP address needs no
 * thread. Each resolver serves one thread at a time.
 *
 * A failure is ERR_UNAVAILABLE; its text does not name the host. */
#pragma once

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct resolver;

struct resolver *resolver_new(void);
/* Does not wait for lookups; their threads end by themselves. NULL is fine. */
void resolver_free(struct resolver *resolver);

/* Returns the state of a lookup, which it starts unless one is under way. Does not wait. */
enum resolver_state {
    RESOLVER_PENDING, /* *ret_fd becomes readable once the lookup is over; valid until the next call for this name */
    RESOLVER_FOUND,   /* *ret_found is to be freed with freeaddrinfo */
    RESOLVER_FAILED,  /* *err says why */
};
enum resolver_state resolver_ask(struct resolver *resolver, const char *host, int port, struct addrinfo **ret_found,
                                 int *ret_fd, struct err *err);
/* Waits until `until_us`, which is monotonic. *ret_found is to be freed with freeaddrinfo. */
bool resolver_wait(struct resolver *resolver, const char *host, int port, int64_t until_us, struct addrinfo **ret_found,
                   struct err *err);
extern const char resolver_no_answer[]; /* the text of the failure if the time is over */

/* SPDX-License-Identifier: Apache-2.0 */
/* Resolves the names of Redis servers within a time limit. getaddrinfo has none: if no name server answers, it takes 10
 * s and more. So it runs on a thread of its own. If the caller's time is over first, the lookup goes on, and the next
 * call for the same name gets its result. An IP address needs no thread. One thread at a time. */
#pragma once

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "config/redis_url.h"

struct redis_resolver;

struct redis_resolver *redis_resolver_new(void);
/* Does not wait for lookups; their threads end by themselves. NULL is fine. */
void redis_resolver_free(struct redis_resolver *resolver);
/* *ret_found is to be freed with freeaddrinfo. `until_us` is monotonic. Fails with ERR_UNAVAILABLE. */
bool redis_resolve(struct redis_resolver *resolver, const struct redis_address *address, int64_t until_us,
                   struct addrinfo **ret_found, struct err *err);

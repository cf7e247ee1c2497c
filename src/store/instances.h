/* SPDX-License-Identifier: Apache-2.0 */
/* The couponsd processes that share a database, as they have told it. Any cold connection. Times are those of
 * Postgres's clock, in microseconds since 1970. */
#pragma once

#include "store/pg.h"

struct instance {
    const char *id; /* names the process, unlike any before it */
    const char *host, *grpc_address, *http_address, *version;
    int64_t start_us, seen_us;
};

struct instance_page {
    size_t room;                /* in: the number of elements of `instances` */
    struct instance *instances; /* filled, the one that was seen last first; strings live in the arena */
    size_t n;                   /* out */
    int64_t now_us;             /* out */
};

/* Tells that this process runs, and forgets those that have not told so for a day. `self` needs no times. */
bool instances_tell(struct pg *pg, const struct instance *self, struct err *err);
bool instances_list(struct pg *pg, struct arena *arena, struct instance_page *page, struct err *err);
/* The process has ended in order. */
bool instances_forget(struct pg *pg, const char *id, struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* Opens connections to Postgres within a time limit, which libpq does not have: it looks up names without a limit, and
 * waits for the whole connect time-out at each host.
 *
 * Each address of each host gets a connection of its own. They begin one after another, each a moment after the one
 * before or when that one has failed, and the first one that is open wins. Hosts that have failed are tried again as
 * long as another one is silent. So neither a silent host nor a name that no name server answers delays the good host
 * much. Names are looked up anew for each connection, since a failover may change their addresses. */
#pragma once

#include <stdint.h>

#include "store/pg.h"
#include "store/resolver.h"

/* A server that stays silent for this time beyond the statement time-out counts as unreachable. */
#define PG_SILENCE_MARGIN_MS 2000

struct pg_opened {
    PGconn *conn;
    int host; /* which one of the URL's; 0: the first */
};

/* Begins with host options->first_host (modulo their number). Gives up after the connect time-out, or at give_up_us
 * (clock_mono_us) if that is earlier. Fails with ERR_UNAVAILABLE. */
bool pg_open(const struct pg_options *options, const char *url, struct resolver *resolver, int64_t give_up_us,
             struct pg_opened *ret, struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* The hosts of a URL with several, in the order in which libpq tries them.
 *
 * libpq waits for the connect time-out at each host that is silent, such as a primary whose machine was lost. So that
 * this happens once and not for each connection, all connections begin with the host that the last one has reached. */
#pragma once

#include <libpq-fe.h>
#include <stdatomic.h>

/* The values of three keywords, which override those of the URL; NULL: the URL's counts. */
struct pg_hosts {
    char *host, *hostaddr, *port;
    int n, first; /* how many hosts, and which of the URL's is the first one here; n is 0 if the URL has fewer than 2 */
};

/* Begins with host `first` (modulo their number) of the URL; the others follow in the URL's order, then those before
 * it. The caller frees it by pg_hosts_deinit. Any thread. */
void pg_hosts_init(struct pg_hosts *hosts, const char *url, int first);
void pg_hosts_deinit(struct pg_hosts *hosts);

/* Returns which of the URL's hosts a connection has reached, by PQhost and PQport. Returns `first` if it can't tell. */
int pg_hosts_reached(const struct pg_hosts *hosts, const char *host, const char *port);

/* SPDX-License-Identifier: Apache-2.0 */
/* The hosts that a URL leads to, with what libpq adds to the URL: the service file and the environment, such as
 * PGHOST. */
#pragma once

#include <stdbool.h>

/* The values of three keywords for one host, which override those of the URL. NULL: the URL's counts. */
struct pg_host {
    char *host, *hostaddr, *port;
};

struct pg_hosts {
    struct pg_host *list;
    int n;                 /* at least 1 */
    int connect_timeout_s; /* the URL's, or that of pg_hosts_init */
};

/* There is one host, without values, if libpq has to find the hosts
 * itself: the URL names none, the lists are of different lengths, or libpq could not be told one of their elements
 * alone. Frees by pg_hosts_deinit. Any thread. Does not block. */
void pg_hosts_init(struct pg_hosts *hosts, const char *url, int connect_timeout_s);
void pg_hosts_deinit(struct pg_hosts *hosts);

/* True if the host has to be looked up: it is neither the directory of a Unix socket, nor has it a given address. */
bool pg_host_is_name(const struct pg_host *host);

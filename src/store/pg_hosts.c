/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts, addresses and ports are lists with commas; an element may be empty. There is a port for each host, or one for
 * all. */
#include "store/pg_hosts.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* libpq's port for a host without one. */
#define DEFAULT_PORT "5432"

/* What the URL, the service file and the environment say together. NULL: nothing. */
struct lists {
    const char *host, *hostaddr, *port;
};

static int count(const char *list) {
    int n = 1;
    for (; list && *list; list++)
        n += *list == ',';
    return list ? n : 0;
}

/* Returns a copy of element `at`, or NULL if it is empty or there is no list. */
static char *element(const char *list, int at) {
    if (!list)
        return NULL;
    while (at-- > 0)
        list = strchr(list, ',') + 1;
    size_t len = strcspn(list, ",");
    if (len == 0)
        return NULL;
    char *copy = memory_new(len + 1, 1);
    return memcpy(copy, list, len);
}

static bool is_socket(const char *host) {
    return *host == '/' || *host == '@';
}

bool pg_host_is_name(const struct pg_host *host) {
    return host->host && !host->hostaddr && !is_socket(host->host);
}

static void free_list(struct pg_hosts *hosts) {
    for (int i = 0; i < hosts->n; i++) {
        free(hosts->list[i].host);
        free(hosts->list[i].hostaddr);
        free(hosts->list[i].port);
    }
    free(hosts->list);
}

/* Sets the values of one of several hosts. libpq takes an empty value for one that is not given, and so the whole list
 * would count. Returns false if a value would have to be empty. */
static bool set_host(struct pg_host *host, const struct lists *lists, int at) {
    host->host = element(lists->host, at);
    host->hostaddr = element(lists->hostaddr, at);
    if (count(lists->port) > 1) {
        host->port = element(lists->port, at);
        if (!host->port)
            host->port = memory_copy(DEFAULT_PORT);
    }
    if (!host->host && !host->hostaddr)
        return false;
    if (!host->host && lists->host)
        host->host = memory_copy(host->hostaddr);
    return !lists->hostaddr || host->hostaddr || !is_socket(host->host);
}

/* Returns false if libpq has to find the hosts itself. */
static bool set_hosts(struct pg_hosts *hosts, const struct lists *lists) {
    int n = lists->hostaddr ? count(lists->hostaddr) : count(lists->host), n_ports = count(lists->port);
    if (n == 0 || (lists->host && count(lists->host) != n) || (n_ports > 1 && n_ports != n))
        return false;
    hosts->list = memory_new((size_t)n, sizeof *hosts->list);
    hosts->n = n;
    bool ok = true;
    for (int i = 0; ok && i < n; i++)
        ok = set_host(&hosts->list[i], lists, i);
    if (!ok)
        free_list(hosts);
    return ok;
}

/* Returns a connection that libpq has refused to begin because of an invalid option. It knows its other options, which
 * no function tells for a URL alone. */
static PGconn *refused_connection(const char *url, int connect_timeout_s) {
    char timeout[16];
    snprintf(timeout, sizeof timeout, "%d", connect_timeout_s);
    /* The keyword before dbname is a default. The one after it overrides the URL. */
    const char *const keywords[] = {"connect_timeout", "dbname", "sslmode", NULL};
    const char *const values[] = {timeout, url, "invalid", NULL};
    return memory_must(PQconnectStartParams(keywords, values, 1));
}

void pg_hosts_init(struct pg_hosts *hosts, const char *url, int connect_timeout_s) {
    PGconn *conn = refused_connection(url, connect_timeout_s);
    PQconninfoOption *options = memory_must(PQconninfo(conn));
    struct lists lists = {0};
    int timeout_s = 0;
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        if (!option->val)
            continue;
        if (strcmp(option->keyword, "host") == 0)
            lists.host = option->val;
        else if (strcmp(option->keyword, "hostaddr") == 0)
            lists.hostaddr = option->val;
        else if (strcmp(option->keyword, "port") == 0)
            lists.port = option->val;
        else if (strcmp(option->keyword, "connect_timeout") == 0)
            timeout_s = (int)strtol(option->val, NULL, 10);
    }
    if (!set_hosts(hosts, &lists)) {
        hosts->list = memory_new(1, sizeof *hosts->list);
        hosts->n = 1;
    }
    hosts->connect_timeout_s = timeout_s > 0 ? timeout_s : connect_timeout_s;
    PQconninfoFree(options);
    PQfinish(conn);
}

void pg_hosts_deinit(struct pg_hosts *hosts) {
    free_list(hosts);
}

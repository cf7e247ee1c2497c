/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts, addresses and ports are lists with commas; an element may be empty. There is a port for each host, or one for
 * all. */
#include "store/pg_hosts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"

static int count(const char *list) {
    int n = 1;
    for (; list && *list; list++)
        n += *list == ',';
    return list ? n : 0;
}

/* Returns element `at` of the list, which must exist. Sets its length. */
static const char *element(const char *list, int at, size_t *ret_len) {
    while (at-- > 0)
        list = strchr(list, ',') + 1;
    *ret_len = strcspn(list, ",");
    return list;
}

static bool is_element(const char *list, int at, const char *text) {
    size_t len;
    const char *found = element(list, at, &len);
    return strlen(text) == len && memcmp(found, text, len) == 0;
}

/* Returns the list with its element `first` in front, or NULL if it has not n elements. */
static char *rotated(const char *list, int n, int first) {
    struct strbuf text = {0};
    if (!list || count(list) != n)
        return NULL;
    for (int i = 0; i < n; i++) {
        size_t len;
        const char *next = element(list, (first + i) % n, &len);
        strbuf_add(&text, ",", i > 0);
        strbuf_add(&text, next, len);
    }
    return text.data;
}

void pg_hosts_init(struct pg_hosts *hosts, const char *url, int first) {
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    const char *host = NULL, *hostaddr = NULL, *port = NULL;
    for (const PQconninfoOption *option = options; option && option->keyword; option++) {
        if (strcmp(option->keyword, "host") == 0)
            host = option->val;
        else if (strcmp(option->keyword, "hostaddr") == 0)
            hostaddr = option->val;
        else if (strcmp(option->keyword, "port") == 0)
            port = option->val;
    }
    int n = hostaddr ? count(hostaddr) : count(host);
    *hosts = (struct pg_hosts){0};
    if (n > 1) {
        hosts->n = n;
        hosts->first = first % n;
        hosts->host = rotated(host, n, hosts->first);
        hosts->hostaddr = rotated(hostaddr, n, hosts->first);
        hosts->port = rotated(port, n, hosts->first);
    }
    PQconninfoFree(options);
}

void pg_hosts_deinit(struct pg_hosts *hosts) {
    free(hosts->host);
    free(hosts->hostaddr);
    free(hosts->port);
}

int pg_hosts_reached(const struct pg_hosts *hosts, const char *host, const char *port) {
    const char *names = hosts->host ? hosts->host : hosts->hostaddr;
    for (int i = 0; names && host && i < hosts->n; i++)
        if (is_element(names, i, host) && (!hosts->port || !port || is_element(hosts->port, i, port)))
            return (hosts->first + i) % hosts->n;
    return hosts->first;
}

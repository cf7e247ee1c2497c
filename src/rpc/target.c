/* SPDX-License-Identifier: Apache-2.0 */
/* See target.h. */
#include "rpc/target.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"

#define LOOPBACK_NET 127 /* the first byte of IPv4's loopback addresses */

/* The gRPC schemes that name a list or a socket themselves; the core understands these targets as they are. */
static const char *const schemes[] = {"ipv4:", "ipv6:", "unix:", "unix-abstract:", "dns:///", "dns:"};

static const char *scheme_of(const char *text) {
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
            return schemes[i];
    return "";
}

/* Splits HOST:PORT, [HOST]:PORT or HOST of `len` bytes. The caller frees the host; the port is "" if there is none. */
static char *split(const char *address, size_t len, const char **ret_port, size_t *ret_port_len) {
    const char *end = address + len, *host = address, *host_end = end, *colon = memchr(address, ':', len);
    if (len > 0 && *address == '[' && memchr(address, ']', len)) {
        host++;
        host_end = memchr(address, ']', len);
        colon = host_end + 1 < end && host_end[1] == ':' ? host_end + 1 : NULL;
    } else if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1))) {
        colon = NULL; /* an IPv6 address without a port */
    } else if (colon) {
        host_end = colon;
    }
    *ret_port = colon ? colon + 1 : end;
    *ret_port_len = (size_t)(end - *ret_port);
    return memory_must(strndup(host, (size_t)(host_end - host)));
}

static bool is_loopback(const char *host) {
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == LOOPBACK_NET;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == LOOPBACK_NET);
    return strcasecmp(host, "localhost") == 0;
}

static bool all_are_loopback(const char *list) {
    for (;;) {
        const char *port;
        size_t len = strcspn(list, ","), port_len;
        char *host = split(list, len, &port, &port_len);
        bool ok = is_loopback(host);
        free(host);
        if (!ok || !list[len])
            return ok;
        list += len + 1;
    }
}

static bool is_host_and_port(const char *address, size_t len) {
    const char *port;
    size_t port_len;
    char *host = split(address, len, &port, &port_len);
    bool ok = *host && port_len > 0 && strspn(port, "0123456789") >= port_len;
    free(host);
    return ok;
}

static void add_uri(struct target *target, const char *text, size_t len) {
    target->uris = memory_resize(target->uris, target->n + 1, sizeof *target->uris);
    target->uris[target->n++] = memory_must(strndup(text, len));
}

static bool split_list(struct target *target, const char *list, struct err *err) {
    for (;; list++) {
        size_t len = strcspn(list, ",");
        if (!is_host_and_port(list, len))
            return err_set(err, ERR_INVALID, BACKEND_NONE, "\"%.*s\" is no HOST:PORT", (int)len, list);
        add_uri(target, list, len);
        list += len;
        if (!*list)
            return true;
    }
}

bool target_init(const char *text, struct target *ret_target, struct err *err) {
    const char *scheme = scheme_of(text), *addresses = text + strlen(scheme);
    bool is_unix = strncmp(scheme, "unix", strlen("unix")) == 0, is_list = !is_unix && strchr(addresses, ',');
    struct target target = {.is_local = is_unix || all_are_loopback(addresses)};
    if (!is_list || *scheme) {
        add_uri(&target, text, strlen(text));
    } else if (!split_list(&target, addresses, err)) {
        target_deinit(&target);
        return false;
    }
    if (is_list) {
        const char *port;
        size_t port_len;
        target.name = split(addresses, strcspn(addresses, ","), &port, &port_len);
    }
    *ret_target = target;
    return true;
}

void target_deinit(struct target *target) {
    for (size_t i = 0; i < target->n; i++)
        free(target->uris[i]);
    free(target->uris);
    free(target->name);
    *target = (struct target){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See target.h. The core has no target for several names, only for several IP addresses: ipv4:ADDRESS,… for IPv4 alone,
 * and ipv6:ADDRESS,… for both, with IPv4 addresses mapped. */
#include "rpc/target.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "base/strbuf.h"

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

/* A list as the two kinds of target, while it is not known which one it needs. */
struct list {
    struct strbuf v4, v6;
    bool has_v6;
};

static void add_address(struct list *list, const struct addrinfo *found) {
    char text[INET6_ADDRSTRLEN];
    if (found->ai_family == AF_INET) {
        const struct sockaddr_in *address = (const struct sockaddr_in *)(const void *)found->ai_addr;
        inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
        strbuf_printf(&list->v4, "%s%s:%u", list->v4.len ? "," : "ipv4:", text, ntohs(address->sin_port));
        strbuf_printf(&list->v6, "%s[::ffff:%s]:%u", list->v6.len ? "," : "ipv6:", text, ntohs(address->sin_port));
    } else if (found->ai_family == AF_INET6) {
        const struct sockaddr_in6 *address = (const struct sockaddr_in6 *)(const void *)found->ai_addr;
        inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof text);
        strbuf_printf(&list->v6, "%s[%s]:%u", list->v6.len ? "," : "ipv6:", text, ntohs(address->sin6_port));
        list->has_v6 = true;
    }
}

static bool look_up(struct list *list, const char *address, size_t len, struct err *err) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    const char *port_text;
    size_t port_len;
    char *host = split(address, len, &port_text, &port_len), *port = memory_must(strndup(port_text, port_len));
    struct addrinfo *found = NULL;
    int code = *host && *port ? getaddrinfo(host, port, &hints, &found) : EAI_NONAME;
    bool ok = code == 0;
    if (!*host || !*port)
        err_set(err, ERR_INVALID, BACKEND_NONE, "\"%.*s\" is no HOST:PORT", (int)len, address);
    else if (!ok)
        err_set(err, ERR_UNAVAILABLE, BACKEND_NONE, "the address %.*s can't be looked up: %s", (int)len, address,
                gai_strerror(code));
    for (const struct addrinfo *each = found; each; each = each->ai_next)
        add_address(list, each);
    if (found)
        freeaddrinfo(found);
    free(host);
    free(port);
    return ok;
}

/* Makes the URI of a list. */
static char *uri_of(const char *addresses, struct err *err) {
    struct list list = {0};
    bool ok = true;
    for (const char *at = addresses; ok; at++) {
        size_t len = strcspn(at, ",");
        ok = look_up(&list, at, len, err);
        at += len;
        if (!*at)
            break;
    }
    strbuf_deinit(list.has_v6 || !ok ? &list.v4 : &list.v6);
    if (ok)
        return list.has_v6 ? list.v6.data : list.v4.data;
    strbuf_deinit(&list.v6);
    return NULL;
}

bool target_init(const char *text, struct target *ret_target, struct err *err) {
    const char *scheme = scheme_of(text), *addresses = text + strlen(scheme);
    bool is_unix = strncmp(scheme, "unix", strlen("unix")) == 0, is_list = !is_unix && strchr(addresses, ',');
    struct target target = {.is_local = is_unix || all_are_loopback(addresses)};
    target.uri = is_list && !*scheme ? uri_of(addresses, err) : memory_copy(text);
    if (!target.uri)
        return false;
    if (is_list) {
        const char *port;
        size_t port_len;
        target.name = split(addresses, strcspn(addresses, ","), &port, &port_len);
    }
    *ret_target = target;
    return true;
}

void target_deinit(struct target *target) {
    free(target->uri);
    free(target->name);
    *target = (struct target){0};
}

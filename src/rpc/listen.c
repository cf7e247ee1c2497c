/* SPDX-License-Identifier: Apache-2.0 */
/* Listen addresses, HOST:PORT. The core reports neither the port that it has bound nor the reason why it could not. Any
 * thread. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/strbuf.h"
#include "rpc/listen.h"

/* The colon before the port. NULL: there is none, or it is one of an IPv6 address without brackets. */
static const char *find_colon(const char *listen) {
    const char *colon = strrchr(listen, ':');
    const char *bracket = strrchr(listen, ']');
    if (!colon || (bracket ? bracket + 1 != colon : strchr(listen, ':') != colon))
        return NULL;
    return colon;
}

/* Tries to listen at an address: 0, or the errno of the failure. */
static int try_bind(const struct addrinfo *address) {
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int failed = bind(fd, address->ai_addr, address->ai_addrlen) || listen(fd, 1) ? errno : 0;
    close(fd);
    return failed;
}

static bool explain_bind(const char *address, int failed, struct err *err) {
    if (failed == EADDRINUSE)
        return err_set(err, ERR_CONFLICT, BACKEND_NONE, "%s: port is in use", address);
    if (failed == EACCES)
        return err_set(err, ERR_PERMISSION, BACKEND_NONE, "%s: not allowed to listen there", address);
    return err_set(err, ERR_INVALID, BACKEND_NONE, "%s: cannot listen there: %s", address,
                   failed ? strerror(failed) : "the gRPC core refused it");
}

bool listen_check(const char *address, struct err *err) {
    const char *colon = find_colon(address);
    if (colon && colon != address && colon[1] != '\0')
        return true;
    return err_set(err, ERR_INVALID, BACKEND_NONE, "%s: is not HOST:PORT (put an IPv6 host in brackets)", address);
}

bool listen_explain(const char *address, struct err *err) {
    const char *colon = find_colon(address);
    bool brackets = address[0] == '[';
    char *host = memory_must(strndup(address + brackets, (size_t)(colon - address) - 2 * (size_t)brackets));
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int unresolved = getaddrinfo(host, colon + 1, &hints, &found);
    free(host);
    if (unresolved)
        return err_set(err, ERR_INVALID, BACKEND_NONE, "%s: cannot resolve: %s", address, gai_strerror(unresolved));
    int failed = 0;
    for (const struct addrinfo *each = found; each && !failed; each = each->ai_next)
        failed = try_bind(each);
    freeaddrinfo(found);
    return explain_bind(address, failed, err);
}

char *listen_address(const char *address, int port) {
    const char *colon = find_colon(address);
    struct strbuf text = {0};
    strbuf_printf(&text, "%.*s:%d", (int)(colon - address), address, port);
    return text.data;
}

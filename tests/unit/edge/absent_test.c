/* SPDX-License-Identifier: Apache-2.0 */
/* absent.c, which takes the place of the edge in a build without it. This program is linked with it. */
#include <criterion/criterion.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/edge.h"

Test(absent, a_build_without_the_edge_says_so_and_counts_nothing) {
    cr_assert_not(edge_is_present());
    edge_open(1);
    edge_batch_begin();
    edge_batch_end();
    edge_poller_waits();
    edge_close(1);
    edge_forget(1);
    cr_assert_eq(edge_refused(), 0);
    for (int why = EDGE_ABUSE_NONE; why <= EDGE_ABUSE_NONE + 1; why++)
        cr_assert_eq(edge_cut((enum edge_abuse)why), 0);
}

Test(absent, nothing_of_a_batch_is_left_to_be_sent_again) {
    cr_assert(edge_batch_retry());
}

static int listen_at(int family, struct sockaddr *address, socklen_t len) {
    int fd = socket(family, SOCK_STREAM, 0);
    cr_assert(bind(fd, address, len) == 0 && listen(fd, 8) == 0 && getsockname(fd, address, &len) == 0);
    return fd;
}

/* Not every container has IPv6. */
static bool has_ipv6(void) {
    const struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool connects(int family, const struct sockaddr *address, socklen_t len) {
    int fd = socket(family, SOCK_STREAM, 0);
    bool ok = connect(fd, address, len) == 0;
    close(fd);
    return ok;
}

Test(absent, closing_a_port_refuses_connections_to_it_and_to_no_other) {
    struct sockaddr_in closed = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, open = closed;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int first = listen_at(AF_INET, (struct sockaddr *)&closed, sizeof closed);
    int second = listen_at(AF_INET, (struct sockaddr *)&open, sizeof open);
    int third = has_ipv6() ? listen_at(AF_INET6, (struct sockaddr *)&six, sizeof six) : -1;
    edge_close(ntohs(closed.sin_port));
    if (third >= 0)
        edge_close(ntohs(six.sin6_port));
    cr_assert_not(connects(AF_INET, (struct sockaddr *)&closed, sizeof closed));
    cr_assert_not(connects(AF_INET6, (struct sockaddr *)&six, sizeof six));
    cr_assert(connects(AF_INET, (struct sockaddr *)&open, sizeof open));
    close(first);
    close(second);
    if (third >= 0)
        close(third);
}

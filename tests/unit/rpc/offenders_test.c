/* Which addresses are remembered, and for how long. */
#include <arpa/inet.h>
#include <criterion/criterion.h>

#include "rpc/internal.h"

static uint64_t key4(const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = 17};
    cr_assert_eq(inet_pton(AF_INET, text, &address.sin_addr), 1);
    return offenders_key((struct sockaddr *)&address, sizeof address);
}

static uint64_t key6(const char *text) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = 18};
    cr_assert_eq(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
    return offenders_key((struct sockaddr *)&address, sizeof address);
}

Test(offenders, an_address_is_known_by_its_host_or_by_its_network_where_that_is_one_hosts) {
    cr_assert_neq(key4("127.0.0.1"), key4("127.0.0.2"));
    cr_assert_eq(key4("127.0.0.1"), key6("::ffff:127.0.0.1"), "listening by IPv6 changes nothing");
    cr_assert_eq(key6("2001:db8:1:2::1"), key6("2001:db8:1:2:ffff::9"));
    cr_assert_neq(key6("2001:db8:1:2::1"), key6("2001:db8:1:3::1"));
    struct sockaddr unix_socket = {.sa_family = AF_UNIX};
    cr_assert_eq(offenders_key(&unix_socket, sizeof unix_socket), 0);
    cr_assert_eq(offenders_key(NULL, 0), 0);
}

Test(offenders, an_offence_is_remembered_and_forgotten_again) {
    uint64_t key = key4("10.0.0.1"), other = key4("10.0.0.2");
    int64_t now_ms = 1000000;
    cr_assert_eq(offenders_find(key, now_ms), 0);
    for (int n = 1; n <= 3; n++) {
        offenders_add(key, now_ms);
        cr_assert_eq(offenders_find(key, now_ms), n);
    }
    cr_assert_eq(offenders_find(other, now_ms), 0);
    cr_assert_lt(offenders_find(key, now_ms + 3000), 3);
    cr_assert_eq(offenders_find(key, now_ms + 60000), 0);
    for (int n = 0; n < 1000; n++)
        offenders_add(key, now_ms);
    cr_assert_eq(offenders_find(key, now_ms + 60000), 0, "it never takes longer than that");
}

Test(offenders, who_has_no_address_never_offends) {
    offenders_add(0, 1);
    cr_assert_eq(offenders_find(0, 1), 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are remembered, and for how long. */
#include <arpa/inet.h>
#include <criterion/criterion.h>

#include "edge/addresses.h"

static void set_up(void) {
    addresses_init(1000);
}

TestSuite(addresses, .init = set_up);

static uint64_t key4(const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = 17};
    cr_assert_eq(inet_pton(AF_INET, text, &address.sin_addr), 1);
    return address_key((struct sockaddr *)&address, sizeof address);
}

static uint64_t key6(const char *text) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = 18};
    cr_assert_eq(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
    return address_key((struct sockaddr *)&address, sizeof address);
}

Test(addresses, an_address_is_known_by_its_host_or_by_its_network_where_that_is_one_hosts) {
    cr_assert_neq(key4("127.0.0.1"), key4("127.0.0.2"));
    cr_assert_eq(key4("127.0.0.1"), key6("::ffff:127.0.0.1"), "listening by IPv6 changes nothing");
    cr_assert_eq(key6("2001:db8:1:2::1"), key6("2001:db8:1:2:ffff::9"));
    cr_assert_neq(key6("2001:db8:1:2::1"), key6("2001:db8:1:3::1"));
    struct sockaddr unix_socket = {.sa_family = AF_UNIX};
    cr_assert_eq(address_key(&unix_socket, sizeof unix_socket), 0);
    cr_assert_eq(address_key(NULL, 0), 0);
}

Test(addresses, an_offence_is_remembered_and_forgotten_again) {
    uint64_t key = key4("10.0.0.1"), other = key4("10.0.0.2");
    int64_t now_ms = 1000000;
    cr_assert_eq(address_offences(key, now_ms), 0);
    for (int n = 1; n <= 3; n++) {
        address_offends(key, now_ms);
        cr_assert_eq(address_offences(key, now_ms), n);
    }
    cr_assert_eq(address_offences(other, now_ms), 0);
    cr_assert_lt(address_offences(key, now_ms + 3000), 3);
    cr_assert_eq(address_offences(key, now_ms + 60000), 0);
    for (int n = 0; n < 1000; n++)
        address_offends(key, now_ms);
    cr_assert_eq(address_offences(key, now_ms + 60000), 0, "it never takes longer than that");
}

Test(addresses, who_has_no_address_never_offends) {
    address_offends(0, 1);
    cr_assert_eq(address_offences(0, 1), 0);
}

Test(addresses, who_only_connects_has_to_do_it_slowly) {
    uint64_t key = key4("10.0.0.3"), other = key4("10.0.0.4");
    int64_t now_ms = 1000000;
    int n = 0;
    while (n < 100000 && address_connects(key, now_ms)) {
        address_leaves(key, now_ms);
        n++;
    }
    cr_assert_eq(n, 500);
    cr_assert(address_connects(other, now_ms));
    cr_assert_not(address_connects(key, now_ms));
    now_ms += 1000;
    for (n = 0; n < 100000 && address_connects(key, now_ms); n++)
        address_leaves(key, now_ms);
    cr_assert_eq(n, 100);
}

Test(addresses, so_many_may_wait_for_their_first_call_at_a_time) {
    uint64_t key = key4("10.0.0.5");
    int n = 0;
    while (n < 100000 && address_connects(key, 1))
        n++;
    cr_assert_eq(n, 1000);
    address_calls(key, 1);
    cr_assert(address_connects(key, 1), "one has called");
    cr_assert_not(address_connects(key, 1));
    address_leaves(key, 1);
    cr_assert(address_connects(key, 1), "one has left");
}

Test(addresses, who_calls_may_connect_as_often_as_he_likes) {
    uint64_t key = key4("10.0.0.6");
    for (int n = 0; n < 100000; n++) {
        cr_assert(address_connects(key, 1));
        address_calls(key, 1);
    }
}

Test(addresses, who_has_no_address_may_connect) {
    for (int n = 0; n < 100000; n++)
        cr_assert(address_connects(0, 1));
}

Test(addresses, the_limits_are_shares_of_the_connections_that_may_wait) {
    addresses_init(20);
    uint64_t key = key4("10.0.0.7"), other = key4("10.0.0.8");
    int n = 0;
    while (n < 100 && address_connects(key, 1))
        n++;
    cr_assert_eq(n, 20);
    for (n = 0; n < 100 && address_connects(other, 1); n++)
        address_leaves(other, 1);
    cr_assert_eq(n, 10);
}

Test(addresses, without_a_limit_nothing_is_remembered_of_any_address) {
    addresses_init(0);
    cr_assert_eq(key4("10.0.0.9"), 0);
    cr_assert_eq(key6("2001:db8:1:2::1"), 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/resolver.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "fake_names.h"

#define SOON_US (5 * US_PER_S)

static struct resolver *resolver;

static void set_up(void) {
    resolver = resolver_new();
    fake_names_set("slow.test", "127.0.0.9");
    fake_names_hold("slow.test");
}

static void tear_down(void) {
    resolver_free(resolver);
    fake_names_release();
}

TestSuite(resolver, .init = set_up, .fini = tear_down, .timeout = 60);

static void expect_address(struct addrinfo *found, int port, const char *ip) {
    char text[INET6_ADDRSTRLEN];
    bool is_v6 = found->ai_family == AF_INET6;
    const struct sockaddr_in *v4 = (const void *)found->ai_addr;
    const struct sockaddr_in6 *v6 = (const void *)found->ai_addr;
    inet_ntop(found->ai_family, is_v6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, text, sizeof text);
    cr_expect(strcmp(text, ip) == 0 || (strcmp(ip, "127.0.0.1") == 0 && strcmp(text, "::1") == 0), "%s", text);
    cr_expect_eq(ntohs(is_v6 ? v6->sin6_port : v4->sin_port), port);
    cr_expect_eq(found->ai_socktype, SOCK_STREAM);
    freeaddrinfo(found);
}

static void expect_found(const char *host, int port, int64_t patience_us, const char *ip) {
    struct addrinfo *found;
    struct err err = {0};
    bool ok = resolver_wait(resolver, host, port, clock_mono_us() + patience_us, &found, &err);
    cr_assert(ok, "%s", err.text);
    expect_address(found, port, ip);
}

static void expect_not_found(const char *host, int port, int64_t patience_us, const char *begin) {
    struct addrinfo *found = NULL;
    struct err err = {0};
    cr_expect_not(resolver_wait(resolver, host, port, clock_mono_us() + patience_us, &found, &err));
    cr_expect_null(found);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_eq(strncmp(err.text, begin, strlen(begin)), 0, "%s", err.text);
}

Test(resolver, an_ip_address_needs_no_time) {
    expect_found("127.0.0.5", 6379, -1, "127.0.0.5");
    expect_found("::2", 7, -1, "::2");
}

Test(resolver, a_name_leads_to_its_address_and_the_port) {
    expect_found("localhost", 6380, SOON_US, "127.0.0.1");
}

/* A name with an empty label is invalid, so no name server is asked. */
Test(resolver, a_name_that_does_not_exist_is_an_error_each_time) {
    for (int i = 0; i < 2; i++)
        expect_not_found("a..b", 6379, SOON_US, "the name can't be resolved: ");
}

Test(resolver, a_slow_lookup_ends_with_the_callers_time_and_others_go_on) {
    int64_t from_us = clock_mono_us();
    expect_not_found("slow.test", 1, 20 * US_PER_MS, "no name server has answered yet");
    cr_expect_geq(clock_mono_us() - from_us, 20 * US_PER_MS, "the whole time is used");
    cr_expect_lt(clock_mono_us() - from_us, SOON_US);
    expect_found("localhost", 2, SOON_US, "127.0.0.1");
}

Test(resolver, a_later_call_gets_the_result_of_a_lookup_that_was_too_slow) {
    for (int i = 0; i < 3; i++)
        expect_not_found("slow.test", 1, US_PER_MS, "no name server has answered yet");
    fake_names_release();
    expect_found("slow.test", 1, SOON_US, "127.0.0.9");
    cr_expect_eq(fake_names_count("slow.test"), 1, "calls share the lookup that is under way");
    expect_found("slow.test", 1, SOON_US, "127.0.0.9");
    cr_expect_eq(fake_names_count("slow.test"), 2, "a result counts once, since addresses change");
}

Test(resolver, another_port_is_another_lookup) {
    expect_not_found("slow.test", 1, US_PER_MS, "no name server has answered yet");
    expect_not_found("slow.test", 2, US_PER_MS, "no name server has answered yet");
    fake_names_release();
    expect_found("slow.test", 2, SOON_US, "127.0.0.9");
    expect_found("slow.test", 1, SOON_US, "127.0.0.9");
}

Test(resolver, a_caller_that_does_not_wait_is_told_by_a_file_descriptor) {
    struct addrinfo *found;
    struct pollfd fd = {.fd = -1, .events = POLLIN};
    cr_assert_eq(resolver_ask(resolver, "slow.test", 1, &found, &fd.fd, NULL), RESOLVER_PENDING);
    cr_expect_eq(poll(&fd, 1, 0), 0);
    fake_names_release();
    cr_assert_eq(poll(&fd, 1, SOON_US / US_PER_MS), 1);
    cr_assert_eq(resolver_ask(resolver, "slow.test", 1, &found, &fd.fd, NULL), RESOLVER_FOUND);
    expect_address(found, 1, "127.0.0.9");
}

Test(resolver, a_host_may_have_a_name_of_any_length) {
    char name[2000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    expect_not_found(name, 1, SOON_US, "the name can't be resolved: ");
}

Test(resolver, it_can_be_freed_during_a_lookup) {
    expect_not_found("slow.test", 1, US_PER_MS, "no name server has answered yet");
    resolver_free(resolver);
    resolver = NULL;
    fake_names_release();
    fake_names_wait("slow.test", 1);
}

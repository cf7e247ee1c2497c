/* SPDX-License-Identifier: Apache-2.0 */
/* The linker leads getaddrinfo to this file, so that the test decides what name servers do. */
#include "store/redis_resolver.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"

#define SOON_US (5 * US_PER_S)

/* Other names than "slow.test" are resolved as ever. A lookup of "slow.test" lasts until the test lets it go. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the fields below */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int slow_begun, slow_ended;
static bool is_slow_over;

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret);

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret) {
    if (hints->ai_flags & AI_NUMERICHOST || strcmp(host, "slow.test") != 0)
        return __real_getaddrinfo(host, port, hints, ret);
    pthread_mutex_lock(&lock);
    slow_begun++;
    while (!is_slow_over)
        pthread_cond_wait(&changed, &lock);
    slow_ended++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return __real_getaddrinfo("127.0.0.9", port, hints, ret);
}

static void let_slow_lookups_go(void) {
    pthread_mutex_lock(&lock);
    is_slow_over = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int slow_lookups(void) {
    pthread_mutex_lock(&lock);
    int count = slow_begun;
    pthread_mutex_unlock(&lock);
    return count;
}

static struct redis_resolver *resolver;

static void set_up(void) {
    resolver = redis_resolver_new();
}

static void tear_down(void) {
    redis_resolver_free(resolver);
}

TestSuite(redis_resolver, .init = set_up, .fini = tear_down, .timeout = 60);

static struct redis_address address_of(const char *host, int port) {
    struct redis_address address = {.port = port};
    strcpy(address.host, host);
    return address;
}

static void expect_found(const char *host, int port, int64_t patience_us, const char *ip) {
    const struct redis_address address = address_of(host, port);
    struct addrinfo *found;
    struct err err = {0};
    char text[INET6_ADDRSTRLEN];
    bool ok = redis_resolve(resolver, &address, clock_mono_us() + patience_us, &found, &err);
    cr_assert(ok, "%s", err.text);
    bool is_v6 = found->ai_family == AF_INET6;
    const struct sockaddr_in *v4 = (const void *)found->ai_addr;
    const struct sockaddr_in6 *v6 = (const void *)found->ai_addr;
    inet_ntop(found->ai_family, is_v6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, text, sizeof text);
    cr_expect(strcmp(text, ip) == 0 || (strcmp(ip, "127.0.0.1") == 0 && strcmp(text, "::1") == 0), "%s", text);
    cr_expect_eq(ntohs(is_v6 ? v6->sin6_port : v4->sin_port), port);
    cr_expect_eq(found->ai_socktype, SOCK_STREAM);
    freeaddrinfo(found);
}

static void expect_not_found(const char *host, int port, int64_t patience_us, const char *begin) {
    const struct redis_address address = address_of(host, port);
    struct addrinfo *found = NULL;
    struct err err = {0};
    cr_expect_not(redis_resolve(resolver, &address, clock_mono_us() + patience_us, &found, &err));
    cr_expect_null(found);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_eq(err.backend, BACKEND_REDIS);
    cr_expect_eq(strncmp(err.text, begin, strlen(begin)), 0, "%s", err.text);
}

Test(redis_resolver, an_ip_address_needs_no_time) {
    expect_found("127.0.0.5", 6379, -1, "127.0.0.5");
    expect_found("::2", 7, -1, "::2");
}

Test(redis_resolver, a_name_leads_to_its_address_and_the_port) {
    expect_found("localhost", 6380, SOON_US, "127.0.0.1");
}

/* A name with an empty label is invalid, so no name server is asked. */
Test(redis_resolver, a_name_that_does_not_exist_is_an_error_each_time) {
    for (int i = 0; i < 2; i++)
        expect_not_found("a..b", 6379, SOON_US, "a..b:6379: the name can't be resolved: ");
}

Test(redis_resolver, a_slow_lookup_ends_with_the_callers_time_and_others_go_on) {
    int64_t from_us = clock_mono_us();
    expect_not_found("slow.test", 1, 20 * US_PER_MS, "slow.test:1: no name server has answered yet");
    cr_expect_geq(clock_mono_us() - from_us, 20 * US_PER_MS, "the whole time is used");
    cr_expect_lt(clock_mono_us() - from_us, SOON_US);
    expect_found("localhost", 2, SOON_US, "127.0.0.1");
    let_slow_lookups_go();
}

Test(redis_resolver, a_later_call_gets_the_result_of_a_lookup_that_was_too_slow) {
    for (int i = 0; i < 3; i++)
        expect_not_found("slow.test", 1, US_PER_MS, "slow.test:1: no name server has answered yet");
    let_slow_lookups_go();
    expect_found("slow.test", 1, SOON_US, "127.0.0.9");
    cr_expect_eq(slow_lookups(), 1, "calls share the lookup that is under way");
    expect_found("slow.test", 1, SOON_US, "127.0.0.9");
    cr_expect_eq(slow_lookups(), 2, "a result counts once, since addresses change");
}

Test(redis_resolver, another_port_is_another_lookup) {
    expect_not_found("slow.test", 1, US_PER_MS, "slow.test:1: no name server has answered yet");
    expect_not_found("slow.test", 2, US_PER_MS, "slow.test:2: no name server has answered yet");
    let_slow_lookups_go();
    expect_found("slow.test", 2, SOON_US, "127.0.0.9");
    expect_found("slow.test", 1, SOON_US, "127.0.0.9");
}

Test(redis_resolver, it_can_be_freed_during_a_lookup) {
    expect_not_found("slow.test", 1, US_PER_MS, "slow.test:1: no name server has answered yet");
    redis_resolver_free(resolver);
    resolver = NULL;
    let_slow_lookups_go();
    pthread_mutex_lock(&lock);
    while (slow_ended < slow_begun || !slow_begun)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

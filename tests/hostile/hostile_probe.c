/* SPDX-License-Identifier: Apache-2.0 */
/* hostile_probe: a well-behaved client that keeps calling while others attack the server.
 *
 *   hostile_probe HOST:PORT COUPON CALLS_PER_S [CA]
 *
 * Alternates GetCoupon and Health.Check, one call at a time, on one connection, and prints "ready" after the first two.
 * For each line on stdin it prints a line with the figures since the previous one:
 *   {"calls": 400, "failed": 0, "p50_us": 300, "p99_us": 900, "first_failure": ""}
 * It exits at the end of stdin. While a call hangs, further calls become due; each of them counts too, with its latency
 * from the time it was due. After such a call the timetable restarts, so that delays of the probe itself do not add up
 * on a slow machine. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/methods.h"
#include "base/clock.h"
#include "coupon/v1/coupon_admin_service.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "rpc/client.h"

#define TIMEOUT_MS 5000
#define CALLS_MAX  1000000 /* between two lines */

enum { GET_COUPON = 1, CHECK = 0 };
static const struct rpc_method health_methods[] = {[CHECK] = {"Check", RPC_UNARY}, {"Watch", RPC_SERVER_STREAM}};

struct seen {
    size_t n, failed;
    int64_t us[CALLS_MAX];
    char first_failure[300];
};
static struct seen seen;

static ProtobufCService *admin, *health;
static int64_t coupon_id;

static void count(int64_t us) {
    if (seen.n < CALLS_MAX)
        seen.us[seen.n++] = us;
}

static void call(size_t number) {
    Coupon__V1__GetCouponRequest get = COUPON__V1__GET_COUPON_REQUEST__INIT;
    const Grpc__Health__V1__HealthCheckRequest check = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    get.coupon_id = coupon_id;
    struct rpc_status status;
    bool is_fine = number % 2 ? rpc_client_call_wait(health, CHECK, &check.base, TIMEOUT_MS, NULL, &status)
                              : rpc_client_call_wait(admin, GET_COUPON, &get.base, TIMEOUT_MS, NULL, &status);
    if (!is_fine) {
        if (seen.failed++ == 0)
            snprintf(seen.first_failure, sizeof seen.first_failure, "%s: %s", rpc_code_name(status.code),
                     status.message ? status.message : "");
        rpc_status_deinit(&status);
    }
}

static int by_size(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static int64_t percentile(size_t percent) {
    return seen.n ? seen.us[(seen.n - 1) * percent / 100] : 0;
}

static void report(void) {
    qsort(seen.us, seen.n, sizeof seen.us[0], by_size);
    for (char *c = seen.first_failure; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = '\'';
    printf("{\"calls\": %zu, \"failed\": %zu, \"p50_us\": %lld, \"p99_us\": %lld, \"first_failure\": \"%s\"}\n", seen.n,
           seen.failed, (long long)percentile(50), (long long)percentile(99), seen.first_failure);
    fflush(stdout);
    seen.n = seen.failed = 0;
    seen.first_failure[0] = '\0';
}

/* Waits until the next call is due and answers lines from stdin meanwhile. Returns false at the end of stdin. */
static bool wait_until(int64_t due_us) {
    for (;;) {
        int64_t left_us = due_us - clock_mono_us();
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        struct timespec left = {.tv_sec = left_us / US_PER_S, .tv_nsec = left_us % US_PER_S * 1000};
        if (ppoll(&input, 1, left_us > 0 ? &left : &(struct timespec){0}, NULL) > 0) {
            char line[100];
            if (!fgets(line, sizeof line, stdin))
                return false;
            report();
        } else if (left_us <= 0) {
            return true;
        }
    }
}

int main(int argc, char **argv) {
    int64_t calls_per_s = argc == 4 || argc == 5 ? strtoll(argv[3], NULL, 10) : 0;
    if (calls_per_s < 1) {
        fprintf(stderr, "usage: hostile_probe HOST:PORT COUPON CALLS_PER_S [CA]\n");
        return 2;
    }
    coupon_id = strtoll(argv[2], NULL, 10);
    setvbuf(stdin, NULL, _IONBF, 0); /* poll does not see input that stdio has buffered */
    struct rpc_channel *channel;
    struct err err;
    const struct rpc_tls tls = {.ca = argv[4]};
    if (!rpc_channel_new(argv[1], &(struct rpc_channel_options){.tls = tls.ca ? &tls : NULL}, &channel, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    admin = rpc_channel_service(channel, &coupon__v1__coupon_admin_service__descriptor, coupon_admin_service_methods,
                                sizeof coupon_admin_service_methods / sizeof *coupon_admin_service_methods);
    health = rpc_channel_service(channel, &grpc__health__v1__health__descriptor, health_methods, 2);
    call(0);
    call(1);
    puts(seen.failed ? seen.first_failure : "ready");
    fflush(stdout);
    seen.n = seen.failed = 0;
    int64_t due_us = clock_mono_us(), every_us = US_PER_S / calls_per_s;
    for (size_t number = 0; wait_until(due_us); number++) {
        call(number);
        int64_t end_us = clock_mono_us();
        do {
            count(end_us - due_us);
            due_us += every_us;
        } while (due_us <= end_us);
    }
    rpc_channel_free(channel);
    return 0;
}

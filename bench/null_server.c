/* SPDX-License-Identifier: Apache-2.0 */
/* coupon.v1.CouponService with nothing behind it, to measure the bridge alone. It answers RequestPublish immediately,
 * on the poller's thread, as if the request had been accepted: with the coupon's next ticket and the time.
 *
 *   bench_null [HOST:PORT]     prints "listening HOST:PORT", ends on SIGTERM and SIGINT
 *
 * Its server has couponsd's default settings. There is one poller, so nothing needs a lock. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/methods.h"
#include "base/clock.h"
#include "base/ints.h"
#include "coupon/v1/coupon_service.pb-c.h"
#include "descriptor_set.h"
#include "rpc/server.h"

/* The defaults of couponsd's settings. */
#define MESSAGE_MAX     65536
#define STREAMS_MAX     10000
#define METADATA_MAX    16384
#define CONNECTIONS_MAX 16384
#define IN_FLIGHT_MAX   200000

#define COUPONS_MAX     4096 /* a power of two; past half of it further coupons are refused */

static struct coupon {
    int64_t id; /* 0: free */
    int64_t tickets;
} coupons[COUPONS_MAX];
static size_t n_coupons;

/* Returns NULL if there are too many coupons. */
static struct coupon *coupon_of(int64_t id) {
    size_t at = hash_int64(id) & (COUPONS_MAX - 1);
    while (coupons[at].id && coupons[at].id != id)
        at = (at + 1) & (COUPONS_MAX - 1);
    if (!coupons[at].id) {
        if (2 * n_coupons == COUPONS_MAX)
            return NULL;
        coupons[at].id = id;
        n_coupons++;
    }
    return &coupons[at];
}

static void request_publish(Coupon__V1__CouponService_Service *service, const Coupon__V1__RequestPublishRequest *input,
                            Coupon__V1__RequestPublishResponse_Closure closure, void *closure_data) {
    (void)service;
    struct coupon *coupon = input->coupon_id ? coupon_of(input->coupon_id) : NULL;
    if (!coupon) {
        closure(NULL, closure_data);
        return;
    }
    int64_t now_us = clock_wall_us();
    Google__Protobuf__Timestamp accept_time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    accept_time.seconds = now_us / US_PER_S;
    accept_time.nanos = (int32_t)(now_us % US_PER_S * 1000);
    Coupon__V1__PublishStatus status = COUPON__V1__PUBLISH_STATUS__INIT;
    status.coupon_id = input->coupon_id;
    status.user_id = input->user_id;
    status.request_id = input->request_id;
    status.state = COUPON__V1__PUBLISH_STATUS__STATE__STATE_ACCEPTED;
    status.ticket = ++coupon->tickets;
    status.accept_time = &accept_time;
    Coupon__V1__RequestPublishResponse response = COUPON__V1__REQUEST_PUBLISH_RESPONSE__INIT;
    response.status = &status;
    closure(&response, closure_data);
}

int main(int argc, char **argv) {
    if (argc > 2) {
        fprintf(stderr, "usage: %s [HOST:PORT]\n", argv[0]);
        return 2;
    }
    sigset_t signals;
    int number;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    Coupon__V1__CouponService_Service service = {.base = COUPON__V1__COUPON_SERVICE__BASE_INIT,
                                                 .request_publish = request_publish};
    struct rpc_server_options options = {
        .listen = argc > 1 ? argv[1] : "127.0.0.1:0",
        .pollers = 1,
        .max_message_bytes = MESSAGE_MAX,
        .max_concurrent_streams = STREAMS_MAX,
        .max_metadata_bytes = METADATA_MAX,
        .max_connections = CONNECTIONS_MAX,
        .max_in_flight = IN_FLIGHT_MAX,
        .descriptor_set = descriptor_set,
        .descriptor_set_size = descriptor_set_size,
    };
    struct rpc_server *server;
    struct err err;
    if (!rpc_server_new(&options, &server, &err) ||
        !rpc_server_add(server, &service.base, coupon_services[COUPON_SERVICE].methods,
                        coupon_services[COUPON_SERVICE].n_methods, &err) ||
        !rpc_server_start(server, &err)) {
        fprintf(stderr, "%s: %s\n", argv[0], err.text);
        return 1;
    }
    printf("listening %s\n", rpc_server_address(server));
    fflush(stdout);
    sigwait(&signals, &number);
    rpc_server_stop(server, 0, NULL);
    rpc_server_free(server);
    return 0;
}

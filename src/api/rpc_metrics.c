/* SPDX-License-Identifier: Apache-2.0 */
#include "api/rpc_metrics.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "api/methods.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "rpc/server.h"

struct method {
    const char *service, *name;
    struct metric *codes[RPC_CODES], *seconds;
};

static struct method methods[COUPON_METHODS + 1]; /* the last one counts all other methods */

static void register_method(struct method *method, const char *service, const char *name) {
    char labels[160];
    method->service = service;
    method->name = name;
    for (int code = 0; code < RPC_CODES; code++) {
        snprintf(labels, sizeof labels, "service=\"%s\",method=\"%s\",code=\"%s\"", service, name, rpc_code_name(code));
        method->codes[code] = metrics_counter("couponsd_rpc_total", "Calls ended.", labels);
    }
    snprintf(labels, sizeof labels, "service=\"%s\",method=\"%s\"", service, name);
    method->seconds = metrics_histogram("couponsd_rpc_seconds", "Time from a call's arrival to its end.", labels,
                                        METRICS_SECONDS, METRICS_SECONDS_N);
}

static double connections_refused(void *arg) {
    (void)arg;
    return (double)rpc_connections_refused();
}

static double connections_cut(void *abuse) {
    return (double)rpc_connections_cut((enum edge_abuse)(intptr_t)abuse);
}

static void register_connections(void) {
    metrics_counter_fn("couponsd_rpc_connections_refused_total",
                       "Connections closed at once because of grpc.max_connections.", "", connections_refused, NULL);
    for (intptr_t abuse = EDGE_ABUSE_NONE + 1; abuse < EDGE_ABUSES; abuse++) {
        char labels[40];
        snprintf(labels, sizeof labels, "reason=\"%s\"", edge_abuse_name((enum edge_abuse)abuse));
        metrics_counter_fn("couponsd_rpc_connections_cut_total",
                           "Connections closed because their clients abused the protocol, by kind of abuse.", labels,
                           connections_cut, (void *)abuse);
    }
}

static double in_flight(void *server) {
    return (double)rpc_server_in_flight(server);
}

static double taken(void *server) {
    return (double)rpc_server_taken(server);
}

void rpc_metrics_watch(const struct rpc_server *server) {
    metrics_counter_fn("couponsd_rpc_taken_total", "Calls that reached their service without the gRPC core.", "",
                       server ? taken : NULL, (void *)server);
    metrics_gauge_fn("couponsd_rpc_in_flight", "Calls in flight, including watches.", "", server ? in_flight : NULL,
                     (void *)server);
}

void rpc_metrics_register(void) {
    register_connections();
    size_t at = 0;
    for (size_t i = 0; i < COUPON_SERVICES; i++)
        for (size_t j = 0; j < coupon_services[i].n_methods; j++)
            register_method(&methods[at++], coupon_services[i].descriptor->name, coupon_services[i].methods[j].name);
    register_method(&methods[at], "", "other");
}

static void count(const char *service, const char *name, int code, int64_t us, int64_t n) {
    size_t at = 0;
    while (at < COUPON_METHODS && (strcmp(methods[at].name, name) != 0 || strcmp(methods[at].service, service) != 0))
        at++;
    metric_add(methods[at].codes[code >= 0 && code < RPC_CODES ? code : RPC_UNKNOWN], n);
    metric_observe_n(methods[at].seconds, (double)us / US_PER_S, n);
}

void rpc_metrics_on_call_end(void *arg, const char *service, const char *method, int code, int64_t us) {
    (void)arg;
    count(service, method, code, us, 1);
}

void rpc_metrics_count_early(const char *service, const char *method, int code, int64_t n) {
    count(service, method, code, 0, n);
}

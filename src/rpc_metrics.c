#include "rpc_metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "coupon_methods.h"

#define METHODS (COUPON_SERVICE_METHODS + COUPON_ADMIN_SERVICE_METHODS + 1)

struct method {
    const char *service, *name;
    struct metric *codes[RPC_CODES], *seconds;
};

static struct method methods[METHODS];

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

void rpc_metrics_register(void) {
    size_t at = 0;
    for (size_t i = 0; i < COUPON_SERVICE_METHODS; i++)
        register_method(&methods[at++], "coupon.v1.CouponService", coupon_service_methods[i].name);
    for (size_t i = 0; i < COUPON_ADMIN_SERVICE_METHODS; i++)
        register_method(&methods[at++], "coupon.v1.CouponAdminService", coupon_admin_service_methods[i].name);
    register_method(&methods[at], "", "other");
}

void rpc_metrics_on_call_end(void *arg, const char *service, const char *method, int code, int64_t us) {
    (void)arg;
    size_t at = 0;
    while (at < METHODS - 1 && (strcmp(methods[at].name, method) != 0 || strcmp(methods[at].service, service) != 0))
        at++;
    metric_add(methods[at].codes[code >= 0 && code < RPC_CODES ? code : RPC_UNKNOWN], 1);
    metric_observe(methods[at].seconds, (double)us / US_PER_S);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "api/services.h"

#include <criterion/criterion.h>
#include <string.h>

/* Calls `check` for each method of the table, with its roles. */
static void for_each_method(void (*check)(const char *service, const char *method, unsigned roles)) {
    for (size_t i = 0; i < COUPON_SERVICES; i++) {
        const struct coupon_service_methods *methods = api_services[i].methods;
        for (size_t j = 0; j < methods->n_methods; j++)
            check(methods->descriptor->name, methods->methods[j].name, api_services[i].roles[j]);
    }
}

static bool begins_with(const char *text, const char *beginning) {
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static void check_roles(const char *service, const char *method, unsigned roles) {
    cr_expect_neq(roles, 0, "%s.%s", service, method);
    cr_expect_eq(roles & ~(unsigned)ROLE_ANY, 0, "%s.%s", service, method);
    cr_expect_eq(api_roles_of(service, method), roles, "%s.%s", service, method);
}

Test(services, each_method_has_a_role_that_may_call_it) {
    for_each_method(check_roles);
}

Test(services, the_table_has_each_method_of_the_protos_once) {
    for (size_t i = 0; i < COUPON_SERVICES; i++) {
        const struct coupon_service_methods *methods = api_services[i].methods;
        cr_assert_eq(methods->n_methods, methods->descriptor->n_methods, "%s", methods->descriptor->name);
        for (unsigned j = 0; j < methods->descriptor->n_methods; j++)
            cr_expect_neq(api_roles_of(methods->descriptor->name, methods->descriptor->methods[j].name), 0, "%s.%s",
                          methods->descriptor->name, methods->descriptor->methods[j].name);
    }
}

static void check_observer(const char *service, const char *method, unsigned roles) {
    bool reads = begins_with(method, "Get") || begins_with(method, "List") || begins_with(method, "Watch") ||
                 begins_with(method, "Verify");
    cr_expect_eq((roles & ROLE_OBSERVER) != 0, reads, "%s.%s", service, method);
}

Test(services, observers_may_call_the_methods_that_read_and_no_others) {
    for_each_method(check_observer);
}

static void check_caller(const char *service, const char *method, unsigned roles) {
    cr_expect_eq((roles & ROLE_CALLER) != 0, strcmp(service, "coupon.v1.CouponService") == 0, "%s.%s", service, method);
}

Test(services, callers_may_call_the_service_for_users_and_no_other) {
    for_each_method(check_caller);
}

Test(services, only_callers_may_request_coupons) {
    cr_assert_eq(api_roles_of("coupon.v1.CouponService", "RequestPublish"), ROLE_CALLER);
}

Test(services, an_unknown_method_has_no_roles) {
    cr_assert_eq(api_roles_of("coupon.v1.CouponService", "RequestPublishing"), 0);
    cr_assert_eq(api_roles_of("coupon.v1.CouponAdminService", "RequestPublish"), 0);
    cr_assert_eq(api_roles_of("coupon.v1.Nothing", "GetStatus"), 0);
    cr_assert_eq(api_roles_of("", ""), 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "api/services.h"

#include <string.h>

#include "api/coupon_admin_service.h"
#include "api/coupon_service.h"
#include "api/dead_letter_admin_service.h"
#include "api/integrity_service.h"
#include "api/topic_admin_service.h"

#define ROLES_OF(name, shape, roles) (roles),
static const unsigned coupon_service_roles[] = {COUPON_SERVICE_TABLE(ROLES_OF)};
static const unsigned coupon_admin_service_roles[] = {COUPON_ADMIN_SERVICE_TABLE(ROLES_OF)};
static const unsigned topic_admin_service_roles[] = {TOPIC_ADMIN_SERVICE_TABLE(ROLES_OF)};
static const unsigned dead_letter_admin_service_roles[] = {DEAD_LETTER_ADMIN_SERVICE_TABLE(ROLES_OF)};
static const unsigned integrity_service_roles[] = {INTEGRITY_SERVICE_TABLE(ROLES_OF)};

/* A service's functions and tables are named after it. */
#define SERVICE(number, name) [number] = {&coupon_services[number], name##_roles, name##_start, name##_stop}

const struct api_service api_services[COUPON_SERVICES] = {
    SERVICE(COUPON_SERVICE, coupon_service),           SERVICE(COUPON_ADMIN_SERVICE, coupon_admin_service),
    SERVICE(TOPIC_ADMIN_SERVICE, topic_admin_service), SERVICE(DEAD_LETTER_ADMIN_SERVICE, dead_letter_admin_service),
    SERVICE(INTEGRITY_SERVICE, integrity_service),
};

unsigned api_roles_of(const char *service, const char *method) {
    for (size_t i = 0; i < COUPON_SERVICES; i++) {
        const struct coupon_service_methods *each = api_services[i].methods;
        if (strcmp(each->descriptor->name, service) != 0)
            continue;
        for (size_t j = 0; j < each->n_methods; j++)
            if (strcmp(each->methods[j].name, method) == 0)
                return api_services[i].roles[j];
    }
    return 0;
}

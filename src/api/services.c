/* SPDX-License-Identifier: Apache-2.0 */
#include "api/services.h"

#include <string.h>

#include "api/coupon_admin_service.h"
#include "api/coupon_service.h"
#include "api/dead_letter_admin_service.h"
#include "api/integrity_service.h"
#include "api/topic_admin_service.h"

#define ROLES_OF(name, shape, roles)   (roles),
#define SERVICE_ROLES(number, service) static const unsigned service##_roles[] = {number##_TABLE(ROLES_OF)};
COUPON_SERVICES_TABLE(SERVICE_ROLES)

#define SERVICE_ROW(number, service)                                                                                   \
    [number] = {&coupon_services[number], service##_roles, service##_start, service##_stop},
const struct api_service api_services[COUPON_SERVICES] = {COUPON_SERVICES_TABLE(SERVICE_ROW)};

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

/* SPDX-License-Identifier: Apache-2.0 */
#include "api/services.h"

#include "api/coupon_admin_service.h"
#include "api/coupon_service.h"
#include "api/dead_letter_admin_service.h"
#include "api/integrity_service.h"
#include "api/topic_admin_service.h"

const struct api_service api_services[COUPON_SERVICES] = {
    {&coupon_services[COUPON_SERVICE], coupon_service_start, coupon_service_stop},
    {&coupon_services[COUPON_ADMIN_SERVICE], coupon_admin_service_start, coupon_admin_service_stop},
    {&coupon_services[TOPIC_ADMIN_SERVICE], topic_admin_service_start, topic_admin_service_stop},
    {&coupon_services[DEAD_LETTER_ADMIN_SERVICE], dead_letter_admin_service_start, dead_letter_admin_service_stop},
    {&coupon_services[INTEGRITY_SERVICE], integrity_service_start, integrity_service_stop},
};

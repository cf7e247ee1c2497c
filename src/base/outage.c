/* SPDX-License-Identifier: Apache-2.0 */
#include "base/outage.h"

#include "base/clock.h"

#define REPEAT_US (10 * US_PER_S)

bool outage_is_on(const struct outage *outage) {
    return outage->since_us != 0;
}

bool outage_failed(struct outage *outage) {
    int64_t now_us = clock_mono_us();
    if (!outage->since_us)
        outage->since_us = now_us;
    if (outage->logged_us && now_us - outage->logged_us < REPEAT_US)
        return false;
    outage->logged_us = now_us;
    return true;
}

bool outage_over(struct outage *outage, int64_t *ret_us) {
    if (!outage->since_us)
        return false;
    *ret_us = clock_mono_us() - outage->since_us;
    *outage = (struct outage){0};
    return true;
}

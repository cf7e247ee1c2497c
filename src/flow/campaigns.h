/* SPDX-License-Identifier: Apache-2.0 */
/* What became of the calls for each coupon in this process, for the console's plots. Process-wide, as the metrics are;
 * they have no coupon as a label, since a series for each coupon would be too many for Prometheus.
 *
 * Room is for CAMPAIGNS_MAX coupons; one that is not called for a while gives way to a new one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "model/reason.h"

#define CAMPAIGNS_MAX 256

struct campaign_counts {
    int64_t coupon_id;
    int64_t last_us;          /* by clock_mono_us: when campaigns_read saw the counts change last */
    int64_t answers[REASONS]; /* by reason; REASON_NONE: answered with a ticket */
};

/* Begins to count. Until then, campaigns_count does nothing. */
void campaigns_start(void);
/* RequestPublish was answered. A call that does not prove that the coupon exists, e.g. one that was refused because of
 * overload, counts only for coupons that have been counted before. Any thread; takes a few nanoseconds. */
void campaigns_count(int64_t coupon_id, enum reason reason);
/* Reads the counts of all coupons that calls came for in the last CAMPAIGNS_IDLE_US. Returns their number. To be called
 * about once a second, by one thread. */
#define CAMPAIGNS_IDLE_US (INT64_C(300) * 1000000)
size_t campaigns_read(struct campaign_counts ret[static CAMPAIGNS_MAX]);

/* SPDX-License-Identifier: Apache-2.0 */
/* What the console shows of this process's metrics (base/metrics.h), read from their text. */
#pragma once

#include <stdint.h>

#include "base/strbuf.h"

#define SCRAPE_BUCKETS_MAX 40

/* Answers to RequestPublish by the time that they took. */
struct scrape_answers {
    int n;
    double bounds_s[SCRAPE_BUCKETS_MAX]; /* the last one is infinite */
    int64_t up_to[SCRAPE_BUCKETS_MAX];   /* answers that took no longer, since the process began */
};

/* Adds the members in_flight, accepted, issued, rejected, refused, queues, relay_rows, relay_s, issue_messages and
 * migration_lanes. Fills *ret. */
void scrape(struct strbuf *json, struct scrape_answers *ret);
/* The time within which the share `quantile` of the answers between two scrapes came, in ms, between the bounds of its
 * bucket by proportion; negative: there were none. */
double scrape_quantile_ms(const struct scrape_answers *before, const struct scrape_answers *now, double quantile);

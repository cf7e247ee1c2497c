/* SPDX-License-Identifier: Apache-2.0 */
/* What the console reads from Postgres without a gRPC method: the newest coupons, the counters of the coupons that
 * calls come for, tickets, and the other couponsd. A thread of its own reads over a cold connection. While somebody
 * looks, it makes the feed's overview once a second; every few seconds it tells the others that this process runs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "console/feed.h"
#include "flow/campaigns.h"
#include "flow/context.h"
#include "store/instances.h"

struct records;

/* `self`: its strings must outlive the records. */
struct records_options {
    struct context *context;
    struct feed *feed;
    struct instance self;
};
bool records_start(const struct records_options *options, struct records **ret_records, struct err *err);
/* Answers the waiting requests and all later ones with 503. Does not wait. */
void records_end(struct records *records);
/* After records_end: waits for a running read, and ends the thread. NULL is fine. */
void records_join(struct records *records);
void records_free(struct records *records); /* NULL is fine */

/* Counters of a coupon as Postgres had them a moment ago, of all couponsd. */
struct record {
    int64_t coupon_id, quantity, accepted, issued;
};
/* Reads these coupons from now on, once a second. Copies the ids. */
void records_follow(struct records *records, const struct campaign_counts *campaigns, size_t n);
/* Copies what was read of them last, ordered by id; nothing if that is older than 3 s. Returns their number. */
size_t records_latest(struct records *records, struct record ret[static CAMPAIGNS_MAX]);

/* Answer with a page in JSON, from the handler.
 *
 *   coupons   the newest with an id below the parameter before, or not above upto, at most limit
 *   tickets   of the coupon coupon_id, those after the ticket `after`, or, with newest=true, those below it */
#define RECORDS_PAGE 100
void records_give_coupons(struct records *records, struct http_request *request);
void records_give_tickets(struct records *records, struct http_request *request);

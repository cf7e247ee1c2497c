/* SPDX-License-Identifier: Apache-2.0 */
/* The availability flags in Redis. Each coupon has two keys:
 *
 *   coupon:available:ID           "true" or "false"
 *   coupon:available_version:ID   the version of that value; a late writer can't overwrite a newer version
 *
 * In a cluster the second key is coupon:available_version:{coupon:available:ID}, which has the slot of the first one:
 * one script can read and write both.
 *
 * One thread. An error or a time-out drops the connection. While Redis is unavailable, calls fail at once, except for
 * an attempt to connect every REDIS_RETRY_MS. If Redis refuses writes only, flags can still be read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/coupon.h"
#include "store/redis.h"

struct flags;

/* Returns false if the URL or a file of the options is wrong. Connects only if the options say so. */
bool flags_new(const struct redis_options *options, struct flags **ret_flags, struct err *err);
void flags_free(struct flags *flags);
/* Connects unless connected. The server's start uses it to check Redis; the calls below connect by themselves. */
bool flags_connect(struct flags *flags, struct err *err);

enum flag_value { FLAG_MISSING, FLAG_FALSE, FLAG_TRUE };
struct flag {
    int64_t coupon_id;
    enum flag_value value;
    int64_t version;  /* 0: Redis has none */
    int64_t replaces; /* flags_set: 0, or a newer version that the item replaces if Redis still has it */
};
/* Returns the flag that belongs to this row, read when Postgres' clock showed `now_us`. Pure. */
struct flag flag_of(const struct coupon *coupon, int64_t now_us);
/* Fills value and version of n items: by one MGET, or in a cluster by one for each item. If it fails, items that were
 * not read are untouched. */
bool flags_get(struct flags *flags, struct flag *items, size_t n, struct err *err);
/* Stores n items in one round trip. Skips those whose version is older than the stored one, unless that is the one
 * which `replaces` names. */
bool flags_set(struct flags *flags, const struct flag *items, size_t n, struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* The availability flags in Redis. Each coupon has two keys:
 *
 *   coupon:available:ID           "true" or "false"
 *   coupon:available_version:ID   the version of that value; a late writer can't overwrite a newer version
 *
 * One connection, one thread. An error or a time-out drops the connection. While Redis is unavailable, calls fail at
 * once, except for an attempt to connect every FLAGS_RETRY_MS. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define FLAGS_RETRY_MS 500

struct flags;

/* Parses "redis://[user:password@]host[:port][/db]". Returns false if the URL is wrong. Does not connect. `timeout_ms`
 * bounds connecting and each command. */
bool flags_new(const char *url, int64_t timeout_ms, struct flags **ret_flags, struct err *err);
void flags_free(struct flags *flags);
/* Connects unless connected. The server's start uses it to check Redis; the calls below connect by themselves. */
bool flags_connect(struct flags *flags, struct err *err);

enum flag_value { FLAG_MISSING, FLAG_FALSE, FLAG_TRUE };
struct flag {
    int64_t coupon_id;
    enum flag_value value;
    int64_t version; /* 0: Redis has none */
};
/* Fills value and version of n items, by one MGET. */
bool flags_get(struct flags *flags, struct flag *items, size_t n, struct err *err);
/* Stores n items in one round trip. Skips those whose version is older than the stored one. */
bool flags_set(struct flags *flags, const struct flag *items, size_t n, struct err *err);
/* The number of MGET commands that this object has sent. */
uint64_t flags_reads(const struct flags *flags);

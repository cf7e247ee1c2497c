/* SPDX-License-Identifier: Apache-2.0 */
/* The flags in Redis: coupon:available:{id} = true | false, and beside it the version that the value belongs to
 * (coupon:available_version:{id}), so that a late writer cannot undo a newer value.
 *
 * One connection, one thread. After any error or time-out the connection is dropped; while Redis stays away, calls fail
 * at once and a new connection is tried at most every FLAGS_RETRY_MS. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define FLAGS_RETRY_MS 500

struct flags;

/* Reads "redis://[user:password@]host[:port][/db]"; false: what is wrong with it. Does not connect yet. */
bool flags_new(const char *url, int64_t timeout_ms, struct flags **ret_flags, struct err *err);
void flags_free(struct flags *flags);
/* Connects unless connected; for telling at start whether Redis is there. */
bool flags_connect(struct flags *flags, struct err *err);

enum flag_value { FLAG_MISSING, FLAG_FALSE, FLAG_TRUE };
struct flag {
    int64_t coupon_id;
    enum flag_value value;
    int64_t version; /* 0 where none is stored */
};
/* One MGET for all: fills value and version of flags[0..n). */
bool flags_get(struct flags *flags, struct flag *items, size_t n, struct err *err);
/* Sets those whose version is not older than the stored one; one round trip for all. */
bool flags_set(struct flags *flags, const struct flag *items, size_t n, struct err *err);
/* GET and MGET calls made so far by this object. */
uint64_t flags_reads(const struct flags *flags);

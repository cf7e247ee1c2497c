/* SPDX-License-Identifier: Apache-2.0 */
/* Compares flags in Redis with the coupons in Postgres, which are the truth, and corrects them. The reconciler's
 * thread. */
#pragma once

#include "model/coupon.h"
#include "store/pg.h"
#include "store/redis.h"

struct flag_mender;

struct flag_mender_options {
    const struct redis_options *redis;
    struct pg *pg;       /* the caller's; connected while the mender runs */
    struct arena *arena; /* the caller's, who also resets it */
};
/* Returns false if the options of Redis are wrong. */
bool flag_mender_new(const struct flag_mender_options *options, struct flag_mender **ret_mender, struct err *err);
void flag_mender_free(struct flag_mender *mender);

/* Mends the flags of these coupons, which were read at `now_us` of Postgres' clock. Rows that do not exist are left
 * out. Returns false if Redis or Postgres fails; err->backend tells which. */
bool flag_mender_run(struct flag_mender *mender, const struct coupon *rows, size_t n, int64_t now_us, struct err *err);

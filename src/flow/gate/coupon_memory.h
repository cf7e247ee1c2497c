/* SPDX-License-Identifier: Apache-2.0 */
/* The gate's short memory: the facts about coupons that this process knows without asking a backend.
 *
 *   flag    the flag's value and version in Redis, and when it was read (store/flags.h, coupon_flag_version)
 *   truth   the coupon's row as last read from Postgres, and when. Admit adds the rows that it reads under the lanes'
 *           locks, so that the gate refuses requests as soon as a coupon sells out.
 *
 * If flag and truth differ, the one with the newer version counts. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "model/coupon.h"
#include "store/flags.h"

struct coupon_memory;

/* `cache_ms` is how long a flag or a truth counts without the other's confirmation. */
struct coupon_memory *coupon_memory_new(int64_t cache_ms);
void coupon_memory_free(struct coupon_memory *memory);

/* Adds rows that were just read from Postgres, whose clock showed `now_us`. */
void coupon_memory_learn(struct coupon_memory *memory, const struct coupon *rows, size_t n, int64_t now_us);
/* Adds flags that were just read from Redis or written to it. */
void coupon_memory_learn_flags(struct coupon_memory *memory, const struct flag *flags, size_t n);

enum judgement {
    JUDGE_OPEN,     /* hand the request to admit */
    JUDGE_REFUSED,  /* a user without a ticket is surely refused; *ret_coupon is the truth */
    JUDGE_ASK_FLAG, /* ask Redis */
    JUDGE_ASK_TRUTH /* ask Postgres */
};
enum judgement coupon_memory_judge(struct coupon_memory *memory, int64_t coupon_id, enum refusal *ret_refusal,
                                   struct coupon *ret_coupon);

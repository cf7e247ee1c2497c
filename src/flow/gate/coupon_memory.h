/* What this process knows of coupons without asking anyone: the gate's short memory.
 *
 *   flag    what Redis said, and when; with the flag version it belongs to (store/rows.h)
 *   truth   the coupon's row as last read from Postgres, and when; admit adds what it reads under the lane's lock, so
 * that a coupon that sells out is refused here at once
 *
 * Of flag and truth the one with the newer version counts. Any thread; one mutex, held for short. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "model/coupon.h"
#include "store/flags.h"

struct coupon_memory;

/* `cache_ms`: how long flag or truth alone is believed. */
struct coupon_memory *coupon_memory_new(int64_t cache_ms);
void coupon_memory_free(struct coupon_memory *memory);

/* Rows just read from Postgres, whose clock showed `now_us`. */
void coupon_memory_learn(struct coupon_memory *memory, const struct coupon *rows, size_t n, int64_t now_us);
/* What Redis just said. */
void coupon_memory_learn_flags(struct coupon_memory *memory, const struct flag *flags, size_t n);

enum judgement {
    JUDGE_OPEN,     /* let admit decide */
    JUDGE_REFUSED,  /* a newcomer is surely refused; *ret_coupon is the truth that says so */
    JUDGE_ASK_FLAG, /* ask Redis */
    JUDGE_ASK_TRUTH /* ask Postgres */
};
enum judgement coupon_memory_judge(struct coupon_memory *memory, int64_t coupon_id, enum refusal *ret_refusal,
                                   struct coupon *ret_coupon);

/* What the flag of this truth should say. */
struct flag flag_of(const struct coupon *coupon, int64_t now_us);

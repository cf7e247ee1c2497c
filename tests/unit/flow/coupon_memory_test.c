/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/gate/coupon_memory.h"

#include <criterion/criterion.h>

#include "base/clock.h"

static struct coupon coupon(int64_t accepted, int64_t quantity) {
    return (struct coupon){
        .id = 7,
        .exists = true,
        .status = COUPON_PUBLISHABLE,
        .quantity = quantity,
        .accepted = accepted,
        .open_us = TIME_OPEN_START,
        .expire_us = TIME_OPEN_END,
        .version = 1,
    };
}

static enum judgement judge(struct coupon_memory *memory, int64_t id, enum refusal *ret_refusal) {
    struct coupon row;
    *ret_refusal = REFUSAL_NONE;
    return coupon_memory_judge(memory, id, ret_refusal, &row);
}

static void say(struct coupon_memory *memory, enum flag_value value, int64_t version) {
    struct flag flag = {.coupon_id = 7, .value = value, .version = version};
    coupon_memory_learn_flags(memory, &flag, 1);
}

Test(memory, of_an_unknown_coupon_redis_is_asked_and_where_it_has_nothing_postgres) {
    struct coupon_memory *memory = coupon_memory_new(200);
    enum refusal refusal;
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_ASK_FLAG);
    say(memory, FLAG_MISSING, 0);
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_ASK_TRUTH);
    say(memory, FLAG_TRUE, 2);
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_OPEN);
    say(memory, FLAG_FALSE, 3);
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_ASK_TRUTH);
    coupon_memory_free(memory);
}

Test(memory, a_false_flag_of_the_same_version_confirms_the_truth) {
    struct coupon_memory *memory = coupon_memory_new(200);
    struct coupon sold_out = coupon(5, 5);
    enum refusal refusal;
    coupon_memory_learn(memory, &sold_out, 1, clock_wall_us());
    say(memory, FLAG_FALSE, coupon_flag_version(&sold_out, 0));
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_REFUSED);
    cr_assert_eq(refusal, REFUSAL_SOLD_OUT);
    coupon_memory_free(memory);
}

Test(memory, a_truth_that_is_newer_than_the_flag_counts) {
    struct coupon_memory *memory = coupon_memory_new(200);
    struct coupon sold_out = coupon(5, 5);
    enum refusal refusal;
    coupon_memory_learn(memory, &sold_out, 1, clock_wall_us());
    say(memory, FLAG_TRUE, coupon_flag_version(&sold_out, 0) - 1);
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_REFUSED);
    coupon_memory_free(memory);
}

Test(memory, a_flag_that_is_newer_than_the_truth_opens_after_a_top_up) {
    struct coupon_memory *memory =
        coupon_memory_new(0); /* a flag or a truth counts only if the other one confirms it */
    struct coupon sold_out = coupon(5, 5);
    enum refusal refusal;
    coupon_memory_learn(memory, &sold_out, 1, clock_wall_us());
    int64_t before = clock_mono_us();
    while (clock_mono_us() == before)
        ;
    say(memory, FLAG_TRUE, 4);
    enum judgement judgement = judge(memory, 7, &refusal);
    cr_assert(judgement == JUDGE_OPEN || judgement == JUDGE_ASK_FLAG);
    coupon_memory_free(memory);
}

Test(memory, a_late_older_reading_does_not_undo_a_newer_one) {
    struct coupon_memory *memory = coupon_memory_new(200);
    struct coupon sold_out = coupon(5, 5), before = coupon(4, 5);
    enum refusal refusal;
    coupon_memory_learn(memory, &sold_out, 1, clock_wall_us());
    coupon_memory_learn(memory, &before, 1, clock_wall_us());
    say(memory, FLAG_FALSE, coupon_flag_version(&sold_out, 0));
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_REFUSED);
    coupon_memory_free(memory);
}

Test(memory, before_its_open_time_a_coupon_is_refused_as_not_open) {
    struct coupon_memory *memory = coupon_memory_new(200);
    struct coupon later = coupon(0, 5);
    enum refusal refusal;
    later.open_us = clock_wall_us() + 3600 * (int64_t)US_PER_S;
    coupon_memory_learn(memory, &later, 1, clock_wall_us());
    say(memory, FLAG_TRUE, coupon_flag_version(&later, 0));
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_REFUSED);
    cr_assert_eq(refusal, REFUSAL_NOT_OPEN);
    coupon_memory_free(memory);
}

Test(memory, a_coupon_that_does_not_exist_is_refused_for_a_moment_without_asking_again) {
    struct coupon_memory *memory = coupon_memory_new(200);
    struct coupon none = {.id = 7};
    enum refusal refusal;
    coupon_memory_learn(memory, &none, 1, clock_wall_us());
    say(memory, FLAG_MISSING, 0);
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_REFUSED);
    cr_assert_eq(refusal, REFUSAL_COUPON_NOT_FOUND);
    coupon_memory_free(memory);
}

Test(memory, strangers_ids_do_not_fill_the_memory) {
    struct coupon_memory *memory = coupon_memory_new(200);
    int open = 0;
    for (int64_t id = 1; id <= 200000; id++) {
        struct flag flag = {.coupon_id = id, .value = FLAG_TRUE, .version = 2};
        coupon_memory_learn_flags(memory, &flag, 1);
        enum refusal refusal;
        open += judge(memory, id, &refusal) == JUDGE_OPEN;
    }
    cr_assert_gt(open, 199000, "%d", open); /* on a busy machine, some facts expire in between */
    coupon_memory_free(memory);
}

Test(memory, a_refusal_that_redis_confirms_is_checked_in_postgres_now_and_then) {
    struct coupon_memory *memory = coupon_memory_new(100);
    struct coupon sold_out = coupon(5, 5);
    enum refusal refusal;
    coupon_memory_learn(memory, &sold_out, 1, clock_wall_us());
    say(memory, FLAG_FALSE, coupon_flag_version(&sold_out, 0));
    clock_sleep_us(300 * US_PER_MS);
    say(memory, FLAG_FALSE, coupon_flag_version(&sold_out, 0));
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_REFUSED, "the truth counts although the cache's time is over");
    clock_sleep_us(2 * US_PER_S);
    say(memory, FLAG_FALSE, coupon_flag_version(&sold_out, 0));
    cr_assert_eq(judge(memory, 7, &refusal), JUDGE_ASK_TRUTH, "Redis may have missed a change");
    coupon_memory_free(memory);
}

#include "flow/gate/coupon_memory.h"

#include <criterion/criterion.h>

#include "base/clock.h"

static struct coupon_row coupon(int64_t accepted, int64_t quantity) {
    return (struct coupon_row){
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

static enum judgement judge(struct known *known, int64_t id, enum refusal *ret_refusal) {
    struct coupon_row row;
    *ret_refusal = REFUSAL_NONE;
    return known_judge(known, id, ret_refusal, &row);
}

static void say(struct known *known, enum flag_value value, int64_t version) {
    struct flag flag = {.coupon_id = 7, .value = value, .version = version};
    known_flags(known, &flag, 1);
}

Test(known, of_an_unknown_coupon_redis_is_asked_and_where_it_has_nothing_postgres) {
    struct known *known = known_new(200);
    enum refusal refusal;
    cr_assert_eq(judge(known, 7, &refusal), JUDGE_ASK_FLAG);
    say(known, FLAG_MISSING, 0);
    cr_assert_eq(judge(known, 7, &refusal), JUDGE_ASK_TRUTH);
    say(known, FLAG_TRUE, 2);
    cr_assert_eq(judge(known, 7, &refusal), JUDGE_OPEN);
    say(known, FLAG_FALSE, 3);
    cr_assert_eq(judge(known, 7, &refusal), JUDGE_ASK_TRUTH);
    known_free(known);
}

Test(known, a_false_flag_of_the_same_version_confirms_the_truth) {
    struct known *known = known_new(200);
    struct coupon_row sold_out = coupon(5, 5);
    enum refusal refusal;
    known_learn(known, &sold_out, 1, clock_wall_us());
    say(known, FLAG_FALSE, coupon_flag_version(&sold_out, 0));
    cr_assert_eq(judge(known, 7, &refusal), JUDGE_REFUSED);
    cr_assert_eq(refusal, REFUSAL_SOLD_OUT);
    known_free(known);
}

Test(known, a_truth_that_is_newer_than_the_flag_counts) {
    struct known *known = known_new(200);
    struct coupon_row sold_out = coupon(5, 5);
    enum refusal refusal;
    known_learn(known, &sold_out, 1, clock_wall_us());
    say(known, FLAG_TRUE, coupon_flag_version(&sold_out, 0) - 1);
    cr_assert_eq(judge(known, 7, &refusal), JUDGE_REFUSED);
    known_free(known);
}

Test(known, a_flag_that_is_newer_than_the_truth_opens_after_a_top_up) {
    struct known *known = known_new(0); /* nothing is believed on its own */
    struct coupon_row sold_out = coupon(5, 5);
    enum refusal refusal;
    known_learn(known, &sold_out, 1, clock_wall_us());
    int64_t before = clock_mono_us();
    while (clock_mono_us() == before)
        ;
    say(known, FLAG_TRUE, 4);
    enum judgement judgement = judge(known, 7, &refusal);
    cr_assert(judgement == JUDGE_OPEN || judgement == JUDGE_ASK_FLAG);
    known_free(known);
}

Test(known, a_late_older_reading_does_not_undo_a_newer_one) {
    struct known *known = known_new(200);
    struct coupon_row sold_out = coupon(5, 5), before = coupon(4, 5);
    enum refusal refusal;
    known_learn(known, &sold_out, 1, clock_wall_us());
    known_learn(known, &before, 1, clock_wall_us());
    say(known, FLAG_FALSE, coupon_flag_version(&sold_out, 0));
    cr_assert_eq(judge(known, 7, &refusal), JUDGE_REFUSED);
    known_free(known);
}

Test(known, before_its_open_time_a_coupon_is_refused_as_not_open) {
    struct known *known = known_new(200);
    struct coupon_row later = coupon(0, 5);
    enum refusal refusal;
    later.open_us = clock_wall_us() + 3600 * (int64_t)US_PER_S;
    known_learn(known, &later, 1, clock_wall_us());
    say(known, FLAG_TRUE, coupon_flag_version(&later, 0));
    cr_assert_eq(judge(known, 7, &refusal), JUDGE_REFUSED);
    cr_assert_eq(refusal, REFUSAL_NOT_OPEN);
    known_free(known);
}

Test(known, a_coupon_that_does_not_exist_is_refused_for_a_moment_without_asking_again) {
    struct known *known = known_new(200);
    struct coupon_row none = {.id = 7};
    enum refusal refusal;
    known_learn(known, &none, 1, clock_wall_us());
    say(known, FLAG_MISSING, 0);
    cr_assert_eq(judge(known, 7, &refusal), JUDGE_REFUSED);
    cr_assert_eq(refusal, REFUSAL_COUPON_NOT_FOUND);
    known_free(known);
}

Test(known, strangers_ids_do_not_fill_the_memory) {
    struct known *known = known_new(200);
    int open = 0;
    for (int64_t id = 1; id <= 200000; id++) {
        struct flag flag = {.coupon_id = id, .value = FLAG_TRUE, .version = 2};
        known_flags(known, &flag, 1);
        enum refusal refusal;
        open += judge(known, id, &refusal) == JUDGE_OPEN;
    }
    cr_assert_gt(open, 199000, "%d", open); /* but for those that a busy machine let grow old in between */
    known_free(known);
}

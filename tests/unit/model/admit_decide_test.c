/* SPDX-License-Identifier: Apache-2.0 */
#include "model/admit_decide.h"

#include <criterion/criterion.h>

#include "random.h"

#define NOW 1000

static struct coupon open_coupon(int64_t quantity) {
    return (struct coupon){
        .id = 7,
        .exists = true,
        .status = COUPON_PUBLISHABLE,
        .quantity = quantity,
        .open_us = TIME_OPEN_START,
        .expire_us = TIME_OPEN_END,
        .version = 1,
    };
}

static void decide(struct coupon *coupons, const struct admit_ask *asks, size_t n, struct admit_answer *answers) {
    struct arena arena;
    arena_init(&arena, 4096);
    admit_decide(&arena, coupons, asks, n, NOW, answers);
    arena_deinit(&arena);
}

static struct admit_answer decide_one(struct coupon coupon, bool in_ledger) {
    struct admit_answer answer;
    decide(&coupon, &(struct admit_ask){.coupon = 0, .user_id = 1, .in_ledger = in_ledger}, 1, &answer);
    return answer;
}

static void assert_refused(struct coupon coupon, enum refusal refusal) {
    struct admit_answer answer = decide_one(coupon, false);
    cr_assert_eq(answer.verdict, ADMIT_REFUSED);
    cr_assert_eq(answer.refusal, refusal, "refusal is %d, not %d", answer.refusal, refusal);
}

Test(admit_decide, an_open_coupon_gives_the_next_ticket) {
    struct coupon coupon = open_coupon(10);
    coupon.accepted = 4;
    struct admit_answer answer = decide_one(coupon, false);
    cr_assert_eq(answer.verdict, ADMIT_ACCEPTED);
    cr_assert_eq(answer.ticket, 5);
}

Test(admit_decide, each_reason_refuses_and_the_most_final_one_is_told) {
    struct coupon coupon = {.id = 7};
    assert_refused(coupon, REFUSAL_COUPON_NOT_FOUND);
    coupon = open_coupon(10);
    coupon.accepted = 10;
    assert_refused(coupon, REFUSAL_SOLD_OUT);
    coupon.open_us = NOW + 1;
    assert_refused(coupon, REFUSAL_NOT_OPEN);
    coupon.status = COUPON_PAUSED;
    assert_refused(coupon, REFUSAL_PAUSED);
    coupon.expire_us = NOW;
    assert_refused(coupon, REFUSAL_EXPIRED);
    coupon.status = COUPON_CLOSED;
    assert_refused(coupon, REFUSAL_CLOSED);
    coupon = open_coupon(10);
    coupon.frozen = true;
    assert_refused(coupon, REFUSAL_PAUSED);
}

Test(admit_decide, it_opens_at_its_open_time_and_ends_at_its_expire_time) {
    struct coupon coupon = open_coupon(10);
    coupon.open_us = NOW;
    coupon.expire_us = NOW + 1;
    cr_assert_eq(decide_one(coupon, false).verdict, ADMIT_ACCEPTED);
}

Test(admit_decide, who_is_in_the_ledger_is_known_whatever_became_of_the_coupon) {
    struct coupon coupon = open_coupon(1);
    coupon.accepted = 1;
    coupon.status = COUPON_CLOSED;
    cr_assert_eq(decide_one(coupon, true).verdict, ADMIT_IN_LEDGER);
}

Test(admit_decide, who_asks_twice_in_one_batch_is_known_even_after_the_last_ticket_went_to_him) {
    struct coupon coupon = open_coupon(1);
    struct admit_ask asks[] = {{0, 5, false}, {0, 5, false}, {0, 6, false}};
    struct admit_answer answers[3];
    decide(&coupon, asks, 3, answers);
    cr_assert_eq(answers[0].verdict, ADMIT_ACCEPTED);
    cr_assert_eq(answers[1].verdict, ADMIT_IN_LEDGER);
    cr_assert_eq(answers[2].verdict, ADMIT_REFUSED);
    cr_assert_eq(answers[2].refusal, REFUSAL_SOLD_OUT);
    cr_assert_eq(coupon.accepted, 1);
}

Test(admit_decide, who_is_refused_twice_in_one_batch_is_refused_both_times) {
    struct coupon coupon = open_coupon(1);
    coupon.accepted = 1;
    struct admit_ask asks[] = {{0, 5, false}, {0, 5, false}};
    struct admit_answer answers[2];
    decide(&coupon, asks, 2, answers);
    cr_assert_eq(answers[1].verdict, ADMIT_REFUSED);
}

Test(admit_decide, coupons_of_a_batch_count_apart) {
    struct coupon coupons[2] = {open_coupon(5), open_coupon(5)};
    coupons[1].id = 8;
    struct admit_ask asks[] = {{0, 1, false}, {1, 1, false}, {0, 2, false}, {1, 2, false}};
    struct admit_answer answers[4];
    decide(coupons, asks, 4, answers);
    int64_t expected[] = {1, 1, 2, 2};
    for (int i = 0; i < 4; i++)
        cr_assert_eq(answers[i].ticket, expected[i]);
}

/* --- random histories, compared with a model that decides one request at a time --- */

#define COUPONS 3
#define USERS   12
#define BATCH   9
#define STEPS   60

struct model {
    struct coupon coupons[COUPONS];
    int64_t ticket[COUPONS][USERS]; /* 0: not in the ledger */
};

static struct admit_answer model_ask(struct model *model, size_t c, int64_t user, int64_t now) {
    struct coupon *coupon = &model->coupons[c];
    if (model->ticket[c][user])
        return (struct admit_answer){.verdict = ADMIT_IN_LEDGER};
    enum refusal refusal = REFUSAL_NONE;
    if (coupon->accepted >= coupon->quantity)
        refusal = REFUSAL_SOLD_OUT;
    if (now < coupon->open_us)
        refusal = REFUSAL_NOT_OPEN;
    if (coupon->status == COUPON_PAUSED || coupon->frozen)
        refusal = REFUSAL_PAUSED;
    if (now >= coupon->expire_us)
        refusal = REFUSAL_EXPIRED;
    if (coupon->status == COUPON_CLOSED)
        refusal = REFUSAL_CLOSED;
    if (refusal != REFUSAL_NONE)
        return (struct admit_answer){.verdict = ADMIT_REFUSED, .refusal = refusal};
    model->ticket[c][user] = ++coupon->accepted;
    return (struct admit_answer){.verdict = ADMIT_ACCEPTED, .ticket = coupon->accepted};
}

static void change_something(struct random *random, struct coupon *coupon) {
    switch (random_below(random, 6)) {
    case 0:
        coupon->quantity += random_below(random, 4);
        break;
    case 1:
        if (coupon->status != COUPON_CLOSED)
            coupon->status = random_below(random, 2) ? COUPON_PAUSED : COUPON_PUBLISHABLE;
        break;
    case 2:
        if (random_below(random, 10) == 0)
            coupon->status = COUPON_CLOSED;
        break;
    case 3:
        coupon->frozen = random_below(random, 8) == 0;
        break;
    default:
        break;
    }
}

static void run_history(uint64_t seed) {
    struct random random = {seed};
    struct model model = {0};
    struct coupon rows[COUPONS];
    struct arena arena;
    arena_init(&arena, 4096);
    for (int c = 0; c < COUPONS; c++) {
        model.coupons[c] = open_coupon(1 + random_below(&random, 8));
        model.coupons[c].id = c + 1;
        model.coupons[c].open_us = random_below(&random, STEPS / 2);
        model.coupons[c].expire_us = STEPS / 2 + random_below(&random, STEPS);
    }
    for (int64_t now = 0; now < STEPS; now++) {
        change_something(&random, &model.coupons[random_below(&random, COUPONS)]);
        size_t n = (size_t)random_below(&random, BATCH);
        struct admit_ask asks[BATCH];
        struct admit_answer answers[BATCH];
        for (int c = 0; c < COUPONS; c++)
            rows[c] = model.coupons[c];
        for (size_t i = 0; i < n; i++) {
            size_t c = (size_t)random_below(&random, COUPONS);
            int64_t user = random_below(&random, USERS);
            asks[i] = (struct admit_ask){c, user, model.ticket[c][user] != 0};
        }
        admit_decide(&arena, rows, asks, n, now, answers);
        for (size_t i = 0; i < n; i++) {
            struct admit_answer expected = model_ask(&model, asks[i].coupon, asks[i].user_id, now);
            cr_assert_eq(answers[i].verdict, expected.verdict, "seed %llu", (unsigned long long)seed);
            cr_assert_eq(answers[i].ticket, expected.ticket, "seed %llu", (unsigned long long)seed);
            cr_assert_eq(answers[i].refusal, expected.refusal, "seed %llu", (unsigned long long)seed);
        }
        for (int c = 0; c < COUPONS; c++)
            cr_assert_eq(rows[c].accepted, model.coupons[c].accepted, "seed %llu", (unsigned long long)seed);
    }
    for (int c = 0; c < COUPONS; c++) {
        int64_t holders = 0;
        for (int u = 0; u < USERS; u++)
            holders += model.ticket[c][u] != 0;
        cr_assert_eq(holders, model.coupons[c].accepted, "tickets without gaps; seed %llu", (unsigned long long)seed);
        cr_assert_leq(model.coupons[c].accepted, model.coupons[c].quantity);
    }
    arena_deinit(&arena);
}

Test(admit_decide, random_histories_give_what_a_slow_model_gives) {
    for (uint64_t seed = 1; seed <= 3000; seed++)
        run_history(seed * UINT64_C(0x9e3779b97f4a7c15));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "model/issue_decide.h"

#include <criterion/criterion.h>

#include "random.h"

static struct coupon open_coupon(int64_t quantity) {
    return (struct coupon){
        .id = 7,
        .exists = true,
        .status = COUPON_PUBLISHABLE,
        .quantity = quantity,
        .accepted = quantity,
        .open_us = TIME_OPEN_START,
        .expire_us = TIME_OPEN_END,
    };
}

static struct issuance_event promised(int64_t user, int64_t ticket) {
    return (struct issuance_event){
        .coupon_id = 7, .user_id = user, .ticket = ticket, .ledger_user_id = user, .accept_us = 100};
}

static struct issue_answer decide_one(struct coupon *coupon, struct issuance_event event) {
    struct arena arena;
    struct issue_answer answer;
    size_t coupon_of = 0;
    arena_init(&arena, 4096);
    issue_decide(&arena, coupon, &event, &coupon_of, 1, &answer);
    arena_deinit(&arena);
    return answer;
}

static void assert_rejected(struct coupon coupon, struct issuance_event event, enum reject_reason reason) {
    struct issue_answer answer = decide_one(&coupon, event);
    cr_assert_eq(answer.verdict, ISSUE_REJECTED);
    cr_assert_eq(answer.reject_reason, reason);
    cr_assert_eq(coupon.rejected, 1);
    cr_assert_eq(coupon.issued, 0);
}

static void assert_dead(struct coupon coupon, struct issuance_event event) {
    struct issue_answer answer = decide_one(&coupon, event);
    cr_assert_eq(answer.verdict, ISSUE_DEAD);
    cr_assert_not_null(answer.dead_reason);
    cr_assert_eq(coupon.issued + coupon.rejected, 0);
}

Test(issue_decide, a_promised_ticket_is_issued) {
    struct coupon coupon = open_coupon(2);
    cr_assert_eq(decide_one(&coupon, promised(1, 2)).verdict, ISSUE_ISSUED);
    cr_assert_eq(coupon.issued, 1);
}

Test(issue_decide, a_paused_or_closed_coupon_honours_its_tickets) {
    struct coupon coupon = open_coupon(2);
    coupon.status = COUPON_CLOSED;
    cr_assert_eq(decide_one(&coupon, promised(1, 2)).verdict, ISSUE_ISSUED);
}

Test(issue_decide, an_event_that_the_ledger_does_not_know_is_dead) {
    struct issuance_event event = promised(1, 2);
    event.ledger_user_id = 0;
    assert_dead(open_coupon(5), event);
    event.ledger_user_id = 3;
    assert_dead(open_coupon(5), event);
    assert_dead((struct coupon){.id = 7}, promised(1, 2));
}

Test(issue_decide, nothing_of_a_frozen_coupon_is_issued) {
    struct coupon coupon = open_coupon(5);
    coupon.frozen = true;
    assert_dead(coupon, promised(1, 2));
}

Test(issue_decide, what_was_decided_before_is_a_duplicate) {
    struct coupon coupon = open_coupon(5);
    struct issuance_event event = promised(1, 2);
    event.is_decided = true;
    cr_assert_eq(decide_one(&coupon, event).verdict, ISSUE_DUPLICATE);
    coupon.frozen = true;
    cr_assert_eq(decide_one(&coupon, event).verdict, ISSUE_DUPLICATE, "also once it is frozen");
}

Test(issue_decide, a_ticket_that_breaks_a_rule_is_rejected_with_the_reason) {
    assert_rejected(open_coupon(1), promised(1, 2), REJECT_SOLD_OUT);
    struct coupon coupon = open_coupon(5);
    coupon.expire_us = 100;
    assert_rejected(coupon, promised(1, 2), REJECT_EXPIRED);
    coupon = open_coupon(5);
    coupon.open_us = 101;
    assert_rejected(coupon, promised(1, 2), REJECT_NOT_OPEN);
}

Test(issue_decide, no_more_is_issued_than_there_is_whatever_the_tickets_say) {
    struct coupon coupon = open_coupon(3);
    coupon.issued = 3;
    struct issue_answer answer = decide_one(&coupon, promised(1, 2));
    cr_assert_eq(answer.verdict, ISSUE_REJECTED);
    cr_assert_eq(answer.reject_reason, REJECT_SOLD_OUT);
    cr_assert_eq(coupon.issued, 3);
}

/* --- random deliveries: reordered, repeated, forged, in random batches --- */

#define TICKETS 20
#define FORGED  10
#define BATCH   7

struct state {
    struct coupon coupon;
    int64_t user_of[TICKETS + 1]; /* the ledger: the user of each ticket */
    int64_t held[3 * TICKETS];    /* the ticket that each user holds; 0: none */
    bool rejected[TICKETS + FORGED + 2];
    int issued_times[TICKETS + 2];
};

/* Fills the facts that Postgres would return for an event, or that follow from the counters. */
static void read_rows(const struct state *state, struct issuance_event *event) {
    event->ledger_user_id = event->ticket <= TICKETS ? state->user_of[event->ticket] : 0;
    event->accept_us = event->ticket; /* later tickets were accepted later */
    bool is_issued = event->ticket <= TICKETS && state->issued_times[event->ticket] > 0;
    event->is_decided = is_issued || state->rejected[event->ticket];
    enum issue_before before = issue_before(&state->coupon, event->ticket);
    cr_assert(before == ISSUE_UNSURE || (before == ISSUE_BEFORE) == event->is_decided);
}

static struct issuance_event random_event(struct random *random, const struct state *state) {
    int64_t ticket = 1 + random_below(random, TICKETS);
    struct issuance_event event = {.coupon_id = 7, .user_id = state->user_of[ticket], .ticket = ticket};
    switch (random_below(random, 8)) {
    case 0:
        event.ticket = 1 + random_below(random, TICKETS + FORGED);
        break;
    case 1:
        event.user_id = random_below(random, 3 * TICKETS);
        break;
    default:
        break;
    }
    return event;
}

static void deliver(struct state *state, struct arena *arena, struct issuance_event *events, size_t n, uint64_t seed) {
    size_t coupon_of[BATCH] = {0};
    struct issue_answer answers[BATCH];
    for (size_t i = 0; i < n; i++)
        read_rows(state, &events[i]);
    issue_decide(arena, &state->coupon, events, coupon_of, n, answers);
    for (size_t i = 0; i < n; i++) {
        bool is_promised = events[i].ledger_user_id != 0 && events[i].ledger_user_id == events[i].user_id;
        cr_assert(is_promised || answers[i].verdict == ISSUE_DEAD, "forged; seed %llu", (unsigned long long)seed);
        if (answers[i].verdict == ISSUE_ISSUED) {
            cr_assert_eq(state->held[events[i].user_id], 0, "nobody holds two; seed %llu", (unsigned long long)seed);
            cr_assert_lt(events[i].accept_us, state->coupon.expire_us);
            state->held[events[i].user_id] = events[i].ticket;
            state->issued_times[events[i].ticket]++;
        } else if (answers[i].verdict == ISSUE_REJECTED) {
            cr_assert_not(state->rejected[events[i].ticket]);
            state->rejected[events[i].ticket] = true;
        }
    }
}

static void run_history(uint64_t seed) {
    struct random random = {seed};
    struct state state = {.coupon = open_coupon(TICKETS)};
    struct arena arena;
    arena_init(&arena, 4096);
    /* Some tickets were accepted too late or exceed the quantity, as a faulty writer might cause. */
    state.coupon.expire_us = 1 + random_below(&random, 2 * TICKETS);
    state.coupon.quantity = 1 + random_below(&random, TICKETS + 5);
    for (int64_t ticket = 1; ticket <= TICKETS; ticket++)
        state.user_of[ticket] = 2 * ticket;
    struct issuance_event events[BATCH];
    for (int round = 0; round < 40; round++) {
        size_t n = 1 + (size_t)random_below(&random, BATCH);
        for (size_t i = 0; i < n; i++)
            events[i] = random_event(&random, &state);
        deliver(&state, &arena, events, n, seed);
    }
    /* Finally all events are delivered again, as at-least-once delivery allows. */
    for (int64_t ticket = TICKETS; ticket >= 1; ticket--) {
        events[0] = (struct issuance_event){.coupon_id = 7, .user_id = state.user_of[ticket], .ticket = ticket};
        deliver(&state, &arena, events, 1, seed);
    }
    int64_t issued = 0;
    for (int64_t ticket = 1; ticket <= TICKETS; ticket++) {
        bool eligible = ticket <= state.coupon.quantity && ticket < state.coupon.expire_us;
        cr_assert_eq(state.issued_times[ticket], eligible, "ticket %lld, seed %llu", (long long)ticket,
                     (unsigned long long)seed);
        cr_assert_eq(state.rejected[ticket], !eligible);
        issued += eligible;
    }
    cr_assert_eq(state.coupon.issued, issued);
    cr_assert_leq(issued, state.coupon.quantity);
    arena_deinit(&arena);
}

Test(issue_decide, in_whatever_order_and_however_often_events_come_each_ticket_has_one_outcome) {
    for (uint64_t seed = 1; seed <= 3000; seed++)
        run_history(seed * UINT64_C(0x9e3779b97f4a7c15));
}

Test(issue_decide, a_ticket_above_all_that_were_decided_is_new_whatever_the_others_are) {
    struct coupon coupon = open_coupon(10);
    coupon.issued = 2;
    coupon.rejected = 1;
    coupon.highest = 5; /* two tickets below it are undecided */
    cr_assert_eq(issue_before(&coupon, 6), ISSUE_NEVER);
    cr_assert_eq(issue_before(&coupon, 9), ISSUE_NEVER);
    cr_assert_eq(issue_before(&coupon, 5), ISSUE_UNSURE);
    cr_assert_eq(issue_before(&coupon, 1), ISSUE_UNSURE);
}

Test(issue_decide, a_ticket_below_the_highest_was_decided_when_all_were) {
    struct coupon coupon = open_coupon(10);
    coupon.issued = 4;
    coupon.rejected = 1;
    coupon.highest = 5;
    for (int64_t ticket = 1; ticket <= 5; ticket++)
        cr_assert_eq(issue_before(&coupon, ticket), ISSUE_BEFORE);
    cr_assert_eq(issue_before(&coupon, 6), ISSUE_NEVER);
}

Test(issue_decide, the_highest_decided_ticket_is_kept) {
    struct coupon coupon = open_coupon(10);
    decide_one(&coupon, promised(1, 3));
    cr_assert_eq(coupon.highest, 3);
    decide_one(&coupon, promised(2, 1));
    cr_assert_eq(coupon.highest, 3);
    struct issuance_event late = promised(3, 7);
    coupon.expire_us = late.accept_us;
    decide_one(&coupon, late);
    cr_assert_eq(coupon.highest, 7, "one that was rejected counts");
    struct issuance_event forged = promised(4, 9);
    forged.ledger_user_id = 8;
    decide_one(&coupon, forged);
    cr_assert_eq(coupon.highest, 7);
}

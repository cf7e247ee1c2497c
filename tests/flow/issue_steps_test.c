/* SPDX-License-Identifier: Apache-2.0 */
/* Tests issue, complete and reconcile, each alone, on real servers; see steps_test.c. */
#include <criterion/criterion.h>
#include <time.h>

#include "base/clock.h"
#include "flow/complete.h"
#include "flow/gate/coupon_memory.h"
#include "flow/issue.h"
#include "flow/issue/batch.h"
#include "flow/read/watch.h"
#include "flow/relay.h"
#include "flow/topics/keeper.h"
#include "flow/upkeep/reconcile.h"
#include "steps_fixture.h"
#include "store/coupons.h"
#include "store/live_coupons.h"

TestSuite(steps, .timeout = 300);

/* --- issue --- */

struct issuing {
    struct relay *relay;
    struct watch *watch;
    struct issue *issue;
};

static struct issuing issuing_start(struct fixture *fixture) {
    struct issuing issuing = {.relay = fixture_relay(fixture, STREAM_PUBLISHED)};
    struct err err;
    cr_assert(watch_start(&fixture->context, &issuing.watch, &err), "%s", err.text);
    fixture->context.watch = issuing.watch;
    cr_assert(issue_start(&fixture->context, &issuing.issue, &err), "%s", err.text);
    return issuing;
}

static void issuing_stop(struct issuing *issuing) {
    issue_stop(issuing->issue);
    relay_stop(issuing->relay);
    watch_stop(issuing->watch);
}

static void produce_event(struct fixture *fixture, int64_t user_id, int64_t ticket) {
    struct pg_bytes bytes = fixture_event(fixture, STREAM_REQUESTED, user_id, ticket);
    fixture_produce(fixture, STREAM_REQUESTED, bytes.data, bytes.len);
}

Test(steps, issue_gives_what_the_ledger_promised_once_and_puts_the_rest_aside) {
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 100);
    for (int64_t ticket = 1; ticket <= 3; ticket++)
        fixture_ledger(&fixture, ticket);
    for (int replay = 0; replay < 2; replay++)
        for (int64_t ticket = 1; ticket <= 3; ticket++)
            produce_event(&fixture, 1000 + ticket, ticket);
    produce_event(&fixture, 1001, 2); /* another user's ticket */
    produce_event(&fixture, 5555, 4); /* a user without a ticket */
    fixture_produce(&fixture, STREAM_REQUESTED, "\xff\xff\xff", 3);
    produce_event(&fixture, 5555, INT64_MAX);
    produce_event(&fixture, 5555, INT64_MIN);
    struct issuing issuing = issuing_start(&fixture);
    fixture_wait_for(&fixture, 11, "select sum(next_offset)::bigint from consumer_offset");
    issuing_stop(&issuing);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from user_coupon where user_id = 1000 + ticket"), 3);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from user_coupon"), 3);
    cr_assert_eq(fixture_number(&fixture, "select issued from issuance"), 3);
    cr_assert_eq(fixture_number(&fixture, "select sum(id - first_id + 1)::bigint from outbox_published_0"), 3);
    cr_assert_gt(fixture_number(&fixture, "select min(position('" FIXTURE_TRACEPARENT "'::bytea in events))"
                                          " from outbox_published_0"),
                 0);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from dead_letter where message_offset in (6, 7, 8, 9, 10)"
                                          " and length(reason) > 10"),
                 5);
    fixture_deinit(&fixture);
}

static int unassigned(struct fixture *fixture) {
    int n;
    struct err err;
    cr_assert(kafka_group_unassigned(fixture->context.kafka_admin, STREAM_REQUESTED, false, 10000, &n, &err), "%s",
              err.text);
    return n;
}

static bool waits(int64_t *until_us) {
    clock_sleep_us(10 * US_PER_MS);
    if (!*until_us)
        *until_us = clock_mono_us() + 60 * US_PER_S;
    return clock_mono_us() < *until_us;
}

Test(steps, the_keeper_asks_the_members_to_join_again_until_each_partition_is_assigned) {
    struct fixture fixture;
    fixture_init(&fixture);
    struct err err;
    struct topics_keeper *keeper;
    struct kafka_group *group = &fixture.context.groups[STREAM_REQUESTED];
    /* The broker may need a moment to know its new topic. */
    for (int64_t until_us = 0; unassigned(&fixture) != fixture.config.kafka_partitions;)
        cr_assert(waits(&until_us), "%d partitions are unassigned", unassigned(&fixture));
    fixture.config.issue_run = true;
    fixture.config.complete_run = false;
    cr_assert(topics_keeper_start(&fixture.context, &keeper, &err), "%s", err.text);
    for (int64_t until_us = 0; atomic_load(&group->rejoins) < 2;)
        cr_assert(waits(&until_us), "%u requests", atomic_load(&group->rejoins));
    struct issuing issuing = issuing_start(&fixture);
    for (int64_t until_us = 0; unassigned(&fixture) != 0;)
        cr_assert(waits(&until_us), "%d partitions are unassigned", unassigned(&fixture));
    cr_expect_gt(atomic_load(&group->assignments), 0);
    cr_expect_eq(atomic_load(&fixture.context.groups[STREAM_PUBLISHED].rejoins), 0, "it has no member here");
    topics_keeper_free(keeper);
    issuing_stop(&issuing);
    fixture_deinit(&fixture);
}

Test(steps, issue_rejects_what_was_accepted_after_the_coupon_had_expired) {
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 100);
    fixture_ledger(&fixture, 1);
    fixture_sql(&fixture, "update coupon set expire_time = '2001-01-01'");
    produce_event(&fixture, 1001, 1);
    struct issuing issuing = issuing_start(&fixture);
    fixture_wait_for(&fixture, 1, "select count(*) from rejection where reason = 5 and ticket = 1");
    issuing_stop(&issuing);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from user_coupon"), 0);
    fixture_deinit(&fixture);
}

#define PLACE ((struct kafka_place){"t", 0})

static struct kafka_message message_of(struct fixture *fixture, int64_t offset, int64_t ticket) {
    struct pg_bytes bytes = fixture_event(fixture, STREAM_REQUESTED, 1000 + ticket, ticket);
    return (struct kafka_message){.place = PLACE, .offset = offset, .value = bytes.data, .value_len = bytes.len};
}

/* Makes a coupon of 100 whose first tickets are in the ledger, with events in PLACE that begin at an offset. */
static void begin(struct fixture *fixture, int64_t tickets, int64_t start) {
    int64_t next;
    struct err err;
    struct kafka_place place = PLACE;
    fixture_init(fixture);
    fixture_coupon(fixture, 100);
    for (int64_t ticket = 1; ticket <= tickets; ticket++)
        fixture_ledger(fixture, ticket);
    const struct stored_offsets offsets = {1, &place, &start, &next};
    cr_assert(issuance_offsets(fixture->pg, &fixture->arena, &offsets, &err), "%s", err.text);
}

/* -1: no gap is accepted. */
static struct issue_batch_result issue_messages(struct fixture *fixture, struct coupon_cache *cache,
                                                const struct kafka_message *messages, size_t n, int64_t accepted_gap) {
    struct issue_batch_result result;
    struct err err;
    const struct issue_means means = {fixture->pg, &fixture->arena, cache, 8, NULL};
    cr_assert(issue_batch_run(&means, messages, n, &(struct accepted_gap){PLACE, accepted_gap}, &result, &err), "%s",
              err.text);
    return result;
}

Test(steps, a_gap_in_the_offsets_stops_a_partition_and_an_old_offset_is_passed_over) {
    struct fixture fixture;
    begin(&fixture, 4, 5);
    struct coupon_cache *cache = coupon_cache_new(8);
    struct kafka_message messages[] = {message_of(&fixture, 4, 4), message_of(&fixture, 5, 1),
                                       message_of(&fixture, 7, 3)};
    struct issue_batch_result result = issue_messages(&fixture, cache, messages, 3, -1);
    cr_assert_eq(result.issued, 1);
    cr_assert(result.gap);
    cr_assert_eq(result.gap_expected, 6);
    cr_assert_eq(result.gap_found, 7);
    cr_assert_eq(result.next_offset[0], 6);
    /* The gap is accepted, since offset 6 never arrives. */
    result = issue_messages(&fixture, cache, &messages[2], 1, 6);
    cr_assert_eq(result.issued, 1);
    cr_assert_eq(result.next_offset[0], 8);
    coupon_cache_free(cache);
    fixture_deinit(&fixture);
}

static int64_t issue_ticket(struct fixture *fixture, struct coupon_cache *cache, int64_t ticket) {
    static int64_t offset;
    struct kafka_message message = message_of(fixture, offset++, ticket);
    struct issue_batch_result result = issue_messages(fixture, cache, &message, 1, -1);
    cr_assert_not(result.gap);
    return (int64_t)(result.issued + 10 * result.rejected + 100 * result.duplicates);
}

Test(steps, what_an_issuer_remembers_ends_when_another_has_issued_or_only_rejected) {
    struct fixture fixture;
    begin(&fixture, 6, 0);
    struct coupon_cache *a = coupon_cache_new(8), *b = coupon_cache_new(8);
    fixture_sql(&fixture, "alter table publish_request disable trigger user;"
                          "update publish_request set accept_time = '2001-01-01' where ticket = 3;"
                          "alter table publish_request enable trigger user;"
                          "update coupon set open_time = '2002-01-01'");
    cr_assert_eq(issue_ticket(&fixture, a, 1), 1);
    cr_assert_eq(issue_ticket(&fixture, b, 2), 1);
    cr_assert_eq(issue_ticket(&fixture, a, 2), 100);
    cr_assert_eq(issue_ticket(&fixture, a, 3), 10);
    cr_assert_eq(issue_ticket(&fixture, b, 3), 100);
    cr_assert_eq(issue_ticket(&fixture, b, 5), 1, "out of order");
    cr_assert_eq(issue_ticket(&fixture, a, 5), 100);
    cr_assert_eq(issue_ticket(&fixture, a, 4), 1);
    cr_assert_eq(issue_ticket(&fixture, b, 4), 100);
    cr_assert_eq(issue_ticket(&fixture, b, 6), 1);
    cr_assert_eq(fixture_number(&fixture, "select issued * 100 + rejected * 10 + highest from issuance"), 516);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from user_coupon where ticket <> 3"), 5);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from user_coupon"), 5);
    coupon_cache_free(a);
    coupon_cache_free(b);
    fixture_deinit(&fixture);
}

Test(steps, a_message_that_postgres_refuses_is_put_aside_and_the_others_are_issued) {
    struct fixture fixture;
    struct kafka_message messages[8];
    begin(&fixture, 8, 0);
    struct coupon_cache *cache = coupon_cache_new(8);
    fixture_sql(&fixture, "alter table issued add check (not 6 between first_ticket and last_ticket)");
    for (int64_t ticket = 1; ticket <= 8; ticket++)
        messages[ticket - 1] = message_of(&fixture, ticket - 1, ticket);
    struct issue_batch_result result = issue_messages(&fixture, cache, messages, 8, -1);
    cr_assert_eq(result.issued, 7);
    cr_assert_eq(result.dead, 1);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from user_coupon where ticket <> 6"), 7);
    cr_assert_eq(fixture_number(&fixture, "select message_offset from dead_letter"), 5);
    cr_assert_eq(fixture_number(&fixture, "select next_offset from consumer_offset where topic = 't'"), 8);
    coupon_cache_free(cache);
    fixture_deinit(&fixture);
}

/* --- complete, reconcile --- */

static void produce_published(struct fixture *fixture) {
    struct pg_bytes bytes = fixture_event(fixture, STREAM_PUBLISHED, 1001, 1);
    fixture_produce(fixture, STREAM_PUBLISHED, bytes.data, bytes.len);
}

static void wait_for_flag(struct fixture *fixture, enum flag_value value) {
    int64_t give_up_us = clock_mono_us() + 60 * (int64_t)US_PER_S;
    while (fixture_flag(fixture).value != value && clock_mono_us() < give_up_us)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    cr_assert_eq(fixture_flag(fixture).value, value);
}

Test(steps, complete_sets_the_flag_to_false_when_nothing_is_left_and_a_late_one_cannot_undo_a_top_up) {
    struct fixture fixture;
    struct err err;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 1);
    fixture_ledger(&fixture, 1);
    fixture.context.coupon_memory = coupon_memory_new(100);
    cr_assert(watch_start(&fixture.context, &fixture.context.watch, &err), "%s", err.text);
    struct flag available = {fixture.coupon_id, FLAG_TRUE, 2, 0};
    cr_assert(flags_set(fixture.flags, &available, 1, &err), "%s", err.text);
    struct complete *complete;
    cr_assert(complete_start(&fixture.context, &complete, &err), "%s", err.text);
    produce_published(&fixture);
    wait_for_flag(&fixture, FLAG_FALSE);
    cr_assert_eq(fixture_flag(&fixture).version, 3);
    complete_stop(complete);
    struct flag topped_up = {fixture.coupon_id, FLAG_TRUE, 4, 0}, late = {fixture.coupon_id, FLAG_FALSE, 3, 0};
    cr_assert(flags_set(fixture.flags, &topped_up, 1, &err) && flags_set(fixture.flags, &late, 1, &err));
    cr_assert_eq(fixture_flag(&fixture).value, FLAG_TRUE);
    watch_stop(fixture.context.watch);
    coupon_memory_free(fixture.context.coupon_memory);
    fixture_deinit(&fixture);
}

Test(steps, a_coupon_that_is_changed_while_the_reconciler_looks_at_it_stays_live) {
    struct fixture fixture;
    struct err err;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 1);
    fixture_coupon(&fixture, 1);
    int64_t id[10], changes[10];
    struct coupon_ids live = {.room = 10, .id = id, .changes = changes};
    cr_assert(live_coupons_list(fixture.pg, &fixture.arena, &live, &err), "%s", err.text);
    cr_assert_eq(live.n, 2);
    const struct coupon_addition addition = {.coupon_id = id[0], .quantity = 1, .request_id = ""};
    struct coupon_detail detail;
    int lanes = (int)fixture.config.flow_lanes;
    cr_assert_eq(coupon_add_quantity(fixture.pg, &fixture.arena, lanes, &addition, &detail, &err), COUPON_OK);
    cr_assert(live_coupons_remove(fixture.pg, &fixture.arena, &live, &err), "%s", err.text);
    int64_t changed = id[0], removed = id[1];
    cr_assert(live_coupons_list(fixture.pg, &fixture.arena, &live, &err), "%s", err.text);
    cr_assert_eq(live.n, 1);
    cr_assert_eq(id[0], changed);
    cr_assert(live_coupons_add(fixture.pg, &fixture.arena, (int64_t[]){changed, removed}, 2, &err), "%s", err.text);
    cr_assert(live_coupons_list(fixture.pg, &fixture.arena, &live, &err), "%s", err.text);
    cr_assert_eq(live.n, 2);
    fixture_deinit(&fixture);
}

Test(steps, the_reconciler_rebuilds_flags_sends_stale_tickets_again_and_freezes_an_over_issue) {
    struct fixture fixture;
    struct err err;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 2);
    fixture.config.reconcile_interval_ms = 100;
    fixture.config.reconcile_stale_ms = 1000;
    fixture_ledger(&fixture, 1); /* not in the outbox */
    struct relay *relay = fixture_relay(&fixture, STREAM_REQUESTED);
    struct reconcile *reconcile;
    cr_assert(reconcile_start(&fixture.context, &reconcile, &err), "%s", err.text);
    wait_for_flag(&fixture, FLAG_TRUE);
    fixture_wait_for(&fixture, 1, "select max(last_id) from outbox_head where stream = 0");
    struct flag wrong = {fixture.coupon_id, FLAG_FALSE, 2, 0};
    cr_assert(flags_set(fixture.flags, &wrong, 1, &err), "%s", err.text);
    wait_for_flag(&fixture, FLAG_TRUE);
    /* Issues more coupons than exist, without the triggers. */
    fixture_sql(&fixture,
                "alter table issued disable trigger user; insert into issued values (%lld, 1, 3, now());"
                "update admission set accepted = 2; update issuance set issued = 2",
                (long long)fixture.coupon_id);
    fixture_wait_for(&fixture, 1, "select frozen::int from coupon");
    wait_for_flag(&fixture, FLAG_FALSE);
    reconcile_stop(reconcile);
    relay_stop(relay);
    fixture_deinit(&fixture);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "flow/relay/lane.h"

#define WINDOW 4
#define NUMBER 5

static struct lane lane;

static void begin(int64_t cursor) {
    lane_init(&lane, WINDOW, 1);
    lane_reset(&lane, true, cursor);
}

static void end(void) {
    lane_deinit(&lane);
}

static uintptr_t send(void) {
    cr_assert(lane_has_room(&lane));
    lane_sent(&lane, 1, 0);
    return lane_tag(NUMBER, &lane, lane.sent);
}

Test(lane, the_cursor_moves_when_all_before_it_are_acknowledged) {
    begin(10);
    uintptr_t first = send(), second = send(), third = send();
    cr_assert_eq(lane_number_of_tag(first), NUMBER);
    lane_acknowledged(&lane, second, 0);
    cr_assert_eq(lane.cursor, 10);
    lane_acknowledged(&lane, first, 0);
    cr_assert_eq(lane.cursor, 12);
    lane_acknowledged(&lane, third, 0);
    cr_assert_eq(lane.cursor, 13);
    end();
}

Test(lane, ids_beyond_the_bits_of_a_tag_are_found) {
    begin((INT64_C(1) << 40) - 2);
    uintptr_t tags[] = {send(), send(), send()};
    for (size_t i = 0; i < 3; i++)
        lane_acknowledged(&lane, tags[i], 0);
    cr_assert_eq(lane.cursor, (INT64_C(1) << 40) + 1);
    end();
}

Test(lane, the_window_limits_what_is_in_flight) {
    begin(0);
    uintptr_t first = send();
    for (int i = 1; i < WINDOW; i++)
        send();
    cr_assert_not(lane_has_room(&lane));
    lane_acknowledged(&lane, first, 0);
    cr_assert(lane_has_room(&lane));
    end();
}

Test(lane, a_lane_whose_topic_cannot_be_created_pauses_until_a_message_of_it_is_acknowledged) {
    begin(10);
    lane_pause_for_topic(&lane);
    cr_expect_eq(lane.failed_id, 0, "it awaits none");
    for (int i = 0; i < 3; i++) { /* the first pause has no length */
        lane.awaits_topic = true;
        lane_pause_for_topic(&lane);
        cr_expect_not(lane.awaits_topic);
    }
    cr_expect_eq(lane.failed_id, 11);
    cr_expect_not(relay_pause_is_over(&lane.pause));
    lane_acknowledged(&lane, send(), 0);
    cr_expect_eq(lane.failed_id, 0);
    cr_expect(relay_pause_is_over(&lane.pause));
    lane.awaits_topic = true;
    lane_rewind(&lane);
    cr_expect_not(lane.awaits_topic);
    end();
}

Test(lane, what_was_sent_before_a_rewind_no_longer_counts) {
    begin(0);
    uintptr_t old = send();
    lane_reset(&lane, true, 0);
    cr_assert_not(lane_expects(&lane, old));
    cr_assert(lane_expects(&lane, send()));
    lane_reset(&lane, false, 0);
    cr_assert_not(lane_expects(&lane, lane_tag(NUMBER, &lane, 1)), "the lane belongs to another relay");
    end();
}

Test(lane, pauses_grow_until_the_message_that_failed_is_acknowledged) {
    lane_init(&lane, WINDOW, 2);
    lane_reset(&lane, true, 0);
    send();
    uintptr_t failing = send();
    lane_failed(&lane, failing);
    cr_assert_eq(lane.failed_id, 2);
    relay_pause_begin(&lane.pause);
    lane_rewind(&lane);
    uintptr_t before = send(), again = send();
    lane_acknowledged(&lane, before, 0);
    cr_assert_gt(lane.pause.next_us, 0, "only the message that failed counts");
    lane_failed(&lane, again);
    relay_pause_begin(&lane.pause);
    cr_assert_not(relay_pause_is_over(&lane.pause));
    lane_rewind(&lane);
    lane_acknowledged(&lane, send(), 0);
    cr_assert_eq(lane.pause.next_us, 0);
    cr_assert_eq(lane.failed_id, 0);
    end();
}

Test(lane, a_rewind_keeps_the_cursor_that_is_still_to_be_stored) {
    begin(10);
    lane_acknowledged(&lane, send(), 0);
    lane_rewind(&lane);
    cr_assert_eq(lane.cursor, 11);
    cr_assert_eq(lane.cursor_stored, 10);
    end();
}

Test(lane, a_lane_is_stalled_when_nothing_is_acknowledged_for_a_second) {
    begin(0);
    cr_assert_not(lane_is_stalled(&lane, 5 * US_PER_S), "nothing is in flight");
    lane_sent(&lane, 1, 5 * US_PER_S);
    lane_sent(&lane, 1, 5 * US_PER_S + 900 * US_PER_MS);
    cr_assert_not(lane_is_stalled(&lane, 6 * US_PER_S - 1));
    cr_assert(lane_is_stalled(&lane, 6 * US_PER_S));
    lane_acknowledged(&lane, lane_tag(NUMBER, &lane, 1), 6 * US_PER_S);
    cr_assert_not(lane_is_stalled(&lane, 6 * US_PER_S + 1), "it moves again");
    end();
}

Test(lane, after_a_failure_few_messages_are_sent_until_kafka_takes_them) {
    lane_init(&lane, 1000, 100);
    lane_reset(&lane, true, 0);
    lane_failed(&lane, send());
    lane_rewind(&lane);
    uintptr_t first = send();
    while (lane_has_room(&lane))
        send();
    cr_assert_eq(lane.sent, 100);
    lane_acknowledged(&lane, first, 0);
    while (lane_has_room(&lane))
        send();
    cr_assert_eq(lane.sent, 1001);
    end();
}

/* Two lanes, each with two messages in flight that were sent at 0. The later one of the second lane is acknowledged. */
static void begin_two(struct lane *lanes) {
    for (int i = 0; i < 2; i++) {
        lane_init(&lanes[i], WINDOW, 1);
        lane_reset(&lanes[i], true, 0);
        lane_sent(&lanes[i], 1, 0);
        lane_sent(&lanes[i], 1, 0);
    }
    lane_acknowledged(&lanes[1], lane_tag(1, &lanes[1], 2), 0);
}

static void end_two(struct lane *lanes) {
    for (int i = 0; i < 2; i++)
        lane_deinit(&lanes[i]);
}

Test(lanes, those_that_stand_or_are_lost_do_not_count_as_moving) {
    struct lane lanes[2];
    begin_two(lanes);
    cr_assert_eq(lanes_moving(lanes, 2, US_PER_S - 1), 3, "an acknowledged message is not in flight");
    cr_assert_eq(lanes_moving(lanes, 2, US_PER_S), 0);
    lanes[1].moved_us = US_PER_S;
    cr_assert_eq(lanes_moving(lanes, 2, US_PER_S), 1);
    lane_reset(&lanes[1], false, 0);
    cr_assert_eq(lanes_moving(lanes, 2, US_PER_S), 0);
    end_two(lanes);
}

Test(lanes, those_that_stand_are_given_up_once_if_others_go_on_or_find_no_room) {
    struct lane lanes[2];
    begin_two(lanes);
    cr_assert_not(lanes_give_up(lanes, 2, 2 * US_PER_S, US_PER_S - 1, false), "Kafka may be down");
    cr_assert_not(lanes_have_failed(lanes, 2));
    lanes[1].moved_us = 3 * US_PER_S / 2;
    cr_assert(lanes_give_up(lanes, 2, 2 * US_PER_S, 3 * US_PER_S / 2, false));
    cr_assert(lanes[0].has_failed && lanes[0].failed_id == 1);
    cr_assert_not(lanes[1].has_failed, "it moves");
    lane_rewind(&lanes[0]);
    lane_sent(&lanes[0], 1, 2 * US_PER_S);
    cr_assert(lanes_have_failed(lanes, 2));
    cr_assert_not(lanes_give_up(lanes, 1, 9 * US_PER_S, 0, true), "it already sends few messages");
    cr_assert(lanes_give_up(lanes, 2, 9 * US_PER_S, 0, true), "no room");
    end_two(lanes);
}

Test(lane, a_lane_that_pauses_for_a_topic_is_given_up_if_what_it_has_sent_fills_the_queue) {
    struct lane lanes[2];
    begin_two(lanes);
    lanes[0].awaits_topic = true;
    lane_pause_for_topic(&lanes[0]);
    cr_assert_eq(lanes[0].failed_id, lanes[0].sent + 1);
    cr_assert(lanes_give_up(lanes, 1, 9 * US_PER_S, 0, true));
    cr_assert_eq(lanes[0].failed_id, 1);
    end_two(lanes);
}

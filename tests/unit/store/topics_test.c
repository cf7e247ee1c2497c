/* SPDX-License-Identifier: Apache-2.0 */
#include "store/topics.h"

#include <criterion/criterion.h>
#include <string.h>

#include "wire_fixture.h"

TestSuite(topics, .init = wire_set_up, .fini = wire_tear_down);

/* Makes the statement that looks for the new version find it. */
static void answer_that_it_is_recorded(void) {
    struct pg_args *row = arena_zalloc(&arena, sizeof *row);
    pg_arg_int4(row, &arena, 1);
    wire_answer(wire, "select 1 from topic_version", row, 1);
}

Test(topics, a_version_is_recorded_with_its_partitions_for_both_streams) {
    struct err err = {0};
    answer_that_it_is_recorded();
    cr_assert(topics_add_version(pg, 3, 16, &err), "%s", err.text);
    cr_expect_eq(wire_count(wire, "insert into topic_version"), 1);
}

/* A sanitizer notices if the refusal keeps a result. */
Test(topics, a_version_that_finds_no_room_is_refused) {
    struct err err = {0};
    cr_assert_not(topics_add_version(pg, 17, 8, &err));
    cr_expect_eq(err.code, ERR_CONFLICT);
    cr_expect_str_eq(err.text, "there are 15 versions already: delete a drained version first");
}

Test(topics, a_coupon_waits_in_four_segments) {
    struct pg_args *row = arena_zalloc(&arena, sizeof *row);
    struct err err = {0};
    int64_t waiting = 0;
    pg_arg_int8(row, &arena, 5);
    wire_answer(wire, "select count(*) from (", row, 1);
    cr_assert(topics_coupon_waiting(pg, 42, &waiting, &err), "%s", err.text);
    cr_expect_eq(waiting, 5);
    const char *sql = wire_last(wire, "select count(*) from (")->sql;
    static const char *const segments[] = {"outbox_requested_0 o join relay_cursor k on k.stream = 0 and",
                                           "outbox_requested_1 o join relay_cursor k on k.stream = 0 and",
                                           "outbox_published_0 o join relay_cursor k on k.stream = 1 and",
                                           "outbox_published_1 o join relay_cursor k on k.stream = 1 and"};
    for (size_t i = 0; i < sizeof segments / sizeof segments[0]; i++)
        cr_expect(strstr(sql, segments[i]), "%s", sql);
}

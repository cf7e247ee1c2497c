/* SPDX-License-Identifier: Apache-2.0 */
#include "store/outbox.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/murmur2.h"
#include "model/event.h"
#include "wire.h"

#define LANES 16

static struct arena arena;

static void set_up(void) {
    arena_init(&arena, 1 << 16);
}

static void tear_down(void) {
    arena_deinit(&arena);
}

TestSuite(outbox, .init = set_up, .fini = tear_down);

static struct outbox_event event_of(int64_t coupon_id, int64_t ticket, size_t payload_len) {
    char *payload = arena_alloc(&arena, payload_len);
    memset(payload, (int)('a' + ticket % 26), payload_len);
    return (struct outbox_event){.coupon_id = coupon_id, .ticket = ticket, .payload = {payload, payload_len}};
}

Test(outbox, heads_are_the_distinct_lanes_ascending) {
    int64_t ids[200];
    bool seen[LANES] = {0};
    struct outbox_heads heads;
    size_t distinct = 0;
    for (int i = 0; i < 200; i++) {
        ids[i] = 1 + i % 7;
        distinct += !seen[murmur2_slot_of_id(ids[i], LANES)];
        seen[murmur2_slot_of_id(ids[i], LANES)] = true;
    }
    outbox_heads_init(&heads, &arena, ids, 200, LANES);
    cr_assert_eq(heads.n, distinct);
    for (size_t i = 0; i < heads.n; i++) {
        cr_expect(seen[heads.lane[i]]);
        cr_expect(i == 0 || heads.lane[i] > heads.lane[i - 1]);
        cr_expect_eq(heads.last_id[i], 0);
        cr_expect_eq(heads.epoch[i], 0);
    }
    outbox_heads_init(&heads, &arena, ids, 0, LANES);
    cr_assert_eq(heads.n, 0);
}

Test(outbox, an_event_gets_its_lanes_next_id_whatever_the_other_lanes_do) {
    int32_t lane[] = {2, 5, 9};
    int64_t last_id[] = {10, 0, 99}, epoch[3] = {0};
    struct outbox_heads heads = {3, lane, last_id, epoch};
    struct outbox_batch batch;
    struct outbox_event event = event_of(1, 1, 10);
    outbox_batch_init(&batch, &arena, &heads);
    outbox_put(&batch, 5, &event);
    outbox_put(&batch, 9, &event);
    outbox_put(&batch, 5, &event);
    cr_assert_eq(last_id[0], 10);
    cr_assert_eq(last_id[1], 2);
    cr_assert_eq(last_id[2], 100);
    cr_assert_eq(batch.n_events, 3);
    cr_assert_eq(batch.n_rows, 2, "a lane's events share a row");
}

Test(outbox, a_row_has_at_most_8000_bytes_and_is_filled_before_the_next_begins) {
    int32_t lane[] = {3};
    int64_t last_id[] = {0}, epoch[] = {0};
    struct outbox_heads heads = {1, lane, last_id, epoch};
    struct outbox_batch batch;
    struct outbox_event event = event_of(1, 1, 80); /* 80 such events, each with a header of 20 bytes, fill a row */
    outbox_batch_init(&batch, &arena, &heads);
    for (int i = 0; i < 80; i++)
        outbox_put(&batch, 3, &event);
    cr_assert_eq(batch.n_rows, 1);
    outbox_put(&batch, 3, &event);
    cr_assert_eq(batch.n_rows, 2);
    cr_assert_eq(last_id[0], 81);
}

/* Appends events of two lanes, then passes the rows that were sent to outbox_read. */
Test(outbox, events_are_read_as_they_were_appended) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    int32_t lanes[] = {3, 8};
    int64_t last_id[] = {40, 0}, epoch[] = {0, 0}, after[] = {40, 0};
    struct outbox_heads heads = {2, lanes, last_id, epoch};
    struct outbox_batch batch;
    PGresult *results[2];
    struct err err = {0};
    enum { EVENTS = 500, ROWS = 100 };
    outbox_batch_init(&batch, &arena, &heads);
    for (int64_t i = 0; i < EVENTS; i++) {
        struct outbox_event event = event_of(7 + i % 2, i, (size_t)(i % 200));
        if (i % 3 == 0)
            event.traceparent = (struct pg_bytes){"00-trace", 8};
        outbox_put(&batch, lanes[i % 2], &event);
    }
    outbox_send_append(pg, &arena, STREAM_REQUESTED, 1, &batch, 1700000000000000);
    cr_assert(pg_collect(pg, results, OUTBOX_APPEND_STATEMENTS, &err), "%s", err.text);
    pg_clear(results, 2);

    const struct wire_statement *insert = wire_last(wire, "insert into outbox_requested_1");
    int64_t lane[ROWS], id[ROWS], first_id[ROWS], next[] = {41, 1};
    struct pg_bytes events[ROWS];
    struct pg_args rows[ROWS] = {0};
    size_t n = wire_int8s(insert, 0, lane, ROWS);
    cr_assert_eq(n, batch.n_rows);
    cr_assert_eq(wire_int8s(insert, 1, id, ROWS), n);
    cr_assert_eq(wire_int8s(insert, 2, first_id, ROWS), n);
    cr_assert_eq(wire_bytes(insert, 4, events, ROWS), n);
    for (size_t i = 0; i < n; i++) {
        int index = lane[i] == 8;
        cr_expect_eq(first_id[i], next[index], "no id is missing between rows");
        cr_expect_leq(events[i].len, 8000);
        next[index] = id[i] + 1;
    }
    /* By lane, as Postgres would return them. */
    int at = 0;
    for (int index = 0; index < 2; index++)
        for (size_t i = 0; i < n; i++)
            if (lane[i] == lanes[index]) {
                struct pg_args *row = &rows[at++];
                pg_arg_int4(row, &arena, (int32_t)lane[i]);
                pg_arg_int8(row, &arena, id[i]);
                pg_arg_int8(row, &arena, first_id[i]);
                pg_arg_time(row, &arena, 1700000000000000);
                row->values[4] = events[i].data;
                row->lengths[4] = (int)events[i].len;
                row->n = 5;
                pg_arg_int8(row, &arena, index + 1);
            }
    wire_answer(wire, "from outbox_requested_1", rows, at);
    struct outbox_page page = {.n_lanes = 2, .lane = lanes, .after = after, .max_rows = 1000};
    cr_assert(outbox_read(pg, &arena, STREAM_REQUESTED, &page, &err), "%s", err.text);
    cr_assert_eq(page.n, EVENTS);
    for (size_t i = 0; i < page.n; i++) {
        const struct outbox_entry *entry = &page.entries[i];
        int64_t in_lane = (int64_t)i % (EVENTS / 2), ticket = 2 * in_lane + (entry->lane == 8);
        cr_assert_eq(entry->lane, i < EVENTS / 2 ? 3 : 8);
        cr_assert_eq(entry->id, in_lane + (entry->lane == 3 ? 41 : 1));
        cr_assert_eq(entry->ticket, ticket);
        cr_assert_eq(entry->coupon_id, 7 + ticket % 2);
        cr_assert_eq(entry->append_us, 1700000000000000);
        cr_assert_eq(entry->payload_len, (size_t)(ticket % 200));
        cr_assert_eq(entry->traceparent_len, ticket % 3 == 0 ? 8 : 0);
        if (entry->payload_len)
            cr_assert_eq(*(const char *)entry->payload, 'a' + ticket % 26);
    }
    outbox_page_clear(&page);

    /* Reading begins within a row and stops before a missing row. */
    after[0] = 45;
    wire_answer(wire, "from outbox_requested_1", rows + 1, at - 1);
    cr_assert(outbox_read(pg, &arena, STREAM_REQUESTED, &page, &err), "%s", err.text);
    cr_assert_eq(page.n, EVENTS / 2, "the first lane's first row is missing");
    outbox_page_clear(&page);
    wire_answer(wire, "from outbox_requested_1", rows, at);
    cr_assert(outbox_read(pg, &arena, STREAM_REQUESTED, &page, &err), "%s", err.text);
    cr_assert_eq(page.n, EVENTS - 5);
    cr_assert_eq(page.entries[0].id, 46);
    outbox_page_clear(&page);
    pg_free(pg);
    wire_free(wire);
}

Test(outbox, a_row_that_is_cut_short_ends_where_its_events_end) {
    struct wire *wire = wire_new();
    struct pg *pg = wire_pg(wire);
    static const char bytes[] = "\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\1\0\0\0\1x"          /* a complete event */
                                "\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\2\xff\xff\xff\xffx"; /* an event that exceeds its row */
    int32_t lane[] = {0};
    int64_t after[] = {0};
    struct pg_args row = {0};
    struct err err = {0};
    pg_arg_int4(&row, &arena, 0);
    pg_arg_int8(&row, &arena, 2);
    pg_arg_int8(&row, &arena, 1);
    pg_arg_time(&row, &arena, 0);
    row.values[4] = bytes;
    row.lengths[4] = sizeof bytes - 1;
    row.n = 5;
    pg_arg_int8(&row, &arena, 1);
    wire_answer(wire, "from outbox_published_0", &row, 1);
    struct outbox_page page = {.n_lanes = 1, .lane = lane, .after = after, .max_rows = 10};
    cr_assert(outbox_read(pg, &arena, STREAM_PUBLISHED, &page, &err), "%s", err.text);
    cr_assert_eq(page.n, 1);
    cr_assert_eq(page.entries[0].payload_len, 1);
    cr_assert_not(page.more);
    outbox_page_clear(&page);
    pg_free(pg);
    wire_free(wire);
}

Test(outbox, raising_an_epoch_shows_in_the_heads) {
    struct pg *pg = pg_new(&(struct pg_options){.url = ""});
    int32_t lane[] = {2, 5};
    int64_t last_id[] = {10, 0}, epoch[] = {4, 0};
    struct outbox_heads heads = {2, lane, last_id, epoch};
    outbox_send_raise_epoch(pg, &arena, STREAM_PUBLISHED, &heads);
    cr_assert_eq(epoch[0], 5);
    cr_assert_eq(epoch[1], 1);
    cr_assert_eq(last_id[0], 10);
    pg_free(pg);
}

Test(outbox, a_request_of_the_ledger_becomes_its_event_again) {
    const struct request_status request = {
        .coupon_id = 7, .user_id = 9, .found = true, .ticket = 3, .request_id = "r-1", .accept_us = 1700000000123456};
    struct outbox_event event = outbox_event_again(&arena, &request);
    struct event read;
    cr_assert_eq(event.coupon_id, 7);
    cr_assert_eq(event.ticket, 3);
    cr_assert_eq(event.traceparent.len, 0);
    cr_assert(event_read(STREAM_REQUESTED, event.payload.data, event.payload.len, &read));
    cr_assert_eq(read.coupon_id, 7);
    cr_assert_eq(read.user_id, 9);
    cr_assert_eq(read.ticket, 3);
    cr_assert_eq(read.accept_us, 1700000000123456);
    cr_assert_eq(read.request_id_len, 3);
    cr_assert_eq(memcmp(read.request_id, "r-1", 3), 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/integrity.h"

#include "base/murmur2.h"

/* Outbox rows per page and segment, and the greatest number of pages. A row holds up to about 100 events. */
#define UNSENT_PAGE  100
#define UNSENT_PAGES 50

#define COUNTERS                                                                                                       \
    "select c.quantity, a.quantity, s.quantity, a.accepted, s.issued, s.rejected, c.frozen, c.create_time,"            \
    " clock_timestamp() from coupon c join admission a on a.coupon_id = c.id join issuance s on s.coupon_id = c.id"    \
    " where c.id = $1"
#define LEDGER                                                                                                         \
    "select count(*), coalesce(min(ticket), 0), coalesce(max(ticket), 0), count(distinct user_id)"                     \
    " from publish_request where coupon_id = $1"
#define ISSUED                                                                                                         \
    "select count(*), coalesce(sum(last_ticket - first_ticket + 1), 0)::bigint, coalesce(sum(held), 0)::bigint,"       \
    " count(*) filter (where first_ticket <= before)"                                                                  \
    " from (select *, max(last_ticket) over (order by first_ticket rows between unbounded preceding and 1 preceding)"  \
    "   as before, (select count(*) from publish_request p where p.coupon_id = $1"                                     \
    "               and p.ticket between first_ticket and last_ticket) as held"                                        \
    "  from issued where coupon_id = $1) i"
/* Of the ticket of a row t. */
#define IS_ISSUED                                                                                                      \
    "coalesce((select last_ticket from issued i where i.coupon_id = $1 and i.first_ticket <= t.ticket"                 \
    " order by i.first_ticket desc limit 1) >= t.ticket, false)"
#define REJECTIONS                                                                                                     \
    "select count(*), count(*) filter (where " IS_ISSUED                                                               \
    " or not exists (select from publish_request p where p.coupon_id = $1 and p.ticket = t.ticket))"                   \
    " from rejection t where t.coupon_id = $1"
#define WAITING                                                                                                        \
    "select min(accept_time) from publish_request t where coupon_id = $1 and not " IS_ISSUED                           \
    " and not exists (select from rejection r where r.coupon_id = $1 and r.ticket = t.ticket)"
#define DEAD_LETTERS                                                                                                   \
    "select count(*), count(*) filter (where replay_time is null) from dead_letter where coupon_id = $1"

enum { BEGIN, BY_INDEX, COUNTERS_AT, LEDGER_AT, ISSUED_AT, REJECTIONS_AT, WAITING_AT, LETTERS_AT, STATEMENTS };

static struct integrity read_counts(PGresult *const *results) {
    const PGresult *counters = results[COUNTERS_AT], *ledger = results[LEDGER_AT], *issued = results[ISSUED_AT];
    return (struct integrity){
        .quantity = pg_int8(counters, 0, 0),
        .admission_quantity = pg_int8(counters, 0, 1),
        .issuance_quantity = pg_int8(counters, 0, 2),
        .accepted = pg_int8(counters, 0, 3),
        .issued = pg_int8(counters, 0, 4),
        .rejected = pg_int8(counters, 0, 5),
        .frozen = pg_bool(counters, 0, 6),
        .create_us = pg_time(counters, 0, 7, 0),
        .now_us = pg_time(counters, 0, 8, 0),
        .ledger_rows = pg_int8(ledger, 0, 0),
        .first_ticket = pg_int8(ledger, 0, 1),
        .last_ticket = pg_int8(ledger, 0, 2),
        .users = pg_int8(ledger, 0, 3),
        .ranges = pg_int8(issued, 0, 0),
        .ranged = pg_int8(issued, 0, 1),
        .held = pg_int8(issued, 0, 2),
        .overlaps = pg_int8(issued, 0, 3),
        .rejections = pg_int8(results[REJECTIONS_AT], 0, 0),
        .rejections_wrong = pg_int8(results[REJECTIONS_AT], 0, 1),
        .oldest_waiting_us = pg_time(results[WAITING_AT], 0, 0, INT64_MIN),
        .dead_letters = pg_int8(results[LETTERS_AT], 0, 0),
        .dead_letters_open = pg_int8(results[LETTERS_AT], 0, 1),
    };
}

bool integrity_begin(struct pg *pg, struct arena *arena, int64_t coupon_id, struct integrity *ret, struct err *err) {
    static const struct pg_statement begin = {"begin isolation level repeatable read read only"};
    /* One coupon has a small share of all rows, even if stale statistics of a growing table suggest a full scan. */
    static const struct pg_statement by_index = {"set local enable_seqscan = off"};
    static const struct pg_statement counts[] = {{COUNTERS},   {LEDGER},  {ISSUED},
                                                 {REJECTIONS}, {WAITING}, {DEAD_LETTERS}};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, coupon_id);
    pg_send(pg, &begin, NULL);
    pg_send(pg, &by_index, NULL);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        pg_send(pg, &counts[i], &args);
    PGresult *results[STATEMENTS];
    if (!pg_collect(pg, results, STATEMENTS, err))
        return false;
    bool found = PQntuples(results[COUNTERS_AT]) == 1;
    if (found)
        *ret = read_counts(results);
    pg_clear(results, STATEMENTS);
    if (!found) {
        integrity_end(pg);
        return err_set(err, ERR_NOT_FOUND, BACKEND_NONE, "there is no such coupon");
    }
    return true;
}

void integrity_end(struct pg *pg) {
    PGresult *result;
    if (!pg_is_connected(pg))
        return;
    pg_send(pg, &pg_rollback, NULL);
    if (pg_collect(pg, &result, 1, NULL))
        pg_clear(&result, 1);
}

bool integrity_issued(struct pg *pg, struct arena *arena, int64_t coupon_id, struct ticket_range **ret, size_t *ret_n,
                      struct err *err) {
    static const struct pg_statement read = {
        "select first_ticket, last_ticket from issued where coupon_id = $1 order by first_ticket"};
    struct pg_args args = {0};
    pg_arg_int8(&args, arena, coupon_id);
    PGresult *result;
    pg_send(pg, &read, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    *ret_n = (size_t)PQntuples(result);
    *ret = ARENA_ARRAY(arena, struct ticket_range, *ret_n);
    for (int row = 0; row < PQntuples(result); row++)
        (*ret)[row] = (struct ticket_range){pg_int8(result, row, 0), pg_int8(result, row, 1)};
    pg_clear(&result, 1);
    return true;
}

static bool read_cursor(struct pg *pg, struct arena *arena, enum stream stream, int32_t lane, int64_t *ret,
                        struct err *err) {
    static const struct pg_statement read = {"select last_id from relay_cursor where stream = $1 and lane = $2"};
    struct pg_args args = {0};
    pg_arg_int2(&args, arena, (int16_t)stream);
    pg_arg_int4(&args, arena, lane);
    PGresult *result;
    pg_send(pg, &read, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    *ret = PQntuples(result) ? pg_int8(result, 0, 0) : 0;
    pg_clear(&result, 1);
    return true;
}

bool integrity_unsent(struct pg *pg, struct arena *arena, int lanes, struct unsent_events *unsent, struct err *err) {
    int32_t lane = murmur2_slot_of_id(unsent->coupon_id, lanes);
    int64_t after, oldest_us = INT64_MIN;
    bool more = true;
    if (!read_cursor(pg, arena, unsent->stream, lane, &after, err))
        return false;
    for (int pages = 0; more && pages < UNSENT_PAGES; pages++) {
        struct outbox_page page = {.n_lanes = 1, .lane = &lane, .after = &after, .max_rows = UNSENT_PAGE};
        if (!outbox_read(pg, arena, unsent->stream, &page, err))
            return false;
        for (size_t i = 0; i < page.n; i++) {
            const struct outbox_entry *entry = &page.entries[i];
            after = entry->id;
            if (entry->coupon_id != unsent->coupon_id)
                continue;
            if (oldest_us == INT64_MIN)
                oldest_us = entry->append_us;
            unsent->on_ticket(unsent->arg, entry->ticket);
        }
        more = page.more;
        outbox_page_clear(&page);
        if (page.n == 0)
            break; /* a gap, behind which outbox_read does not go */
    }
    unsent->all = !more;
    unsent->oldest_us = oldest_us;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/issuance.h"

#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "store/newest.h"

static void arg_places(struct pg_args *args, struct arena *arena, const struct kafka_place *places, size_t n) {
    const char **topics = ARENA_ARRAY(arena, const char *, n);
    int32_t *partitions = ARENA_ARRAY(arena, int32_t, n);
    for (size_t i = 0; i < n; i++) {
        topics[i] = places[i].topic;
        partitions[i] = places[i].partition;
    }
    pg_arg_texts(args, arena, topics, n);
    pg_arg_int4s(args, arena, partitions, n);
}

bool issuance_offsets(struct pg *pg, struct arena *arena, const struct stored_offsets *offsets, struct err *err) {
    static const struct pg_statement make = {
        "insert into consumer_offset (topic, partition, next_offset)"
        " select i.* from unnest($1::text[], $2::integer[], $3::bigint[]) i on conflict do nothing"};
    static const struct pg_statement read = {
        "select i.n, o.next_offset from unnest($1::text[], $2::integer[]) with ordinality i(topic, partition, n)"
        " cross join lateral (select next_offset from consumer_offset" NEWEST_OF_PLACE ") o"};
    struct pg_args make_args = {0}, read_args = {0};
    if (offsets->if_none) {
        arg_places(&make_args, arena, offsets->places, offsets->n);
        pg_arg_int8s(&make_args, arena, offsets->if_none, offsets->n);
        pg_send(pg, &make, &make_args);
    }
    arg_places(&read_args, arena, offsets->places, offsets->n);
    pg_send(pg, &read, &read_args);
    PGresult *results[2];
    int n_results = offsets->if_none ? 2 : 1;
    if (!pg_collect(pg, results, n_results, err))
        return false;
    const PGresult *stored = results[n_results - 1];
    for (size_t i = 0; i < offsets->n; i++)
        offsets->next_offset[i] = -1;
    for (int row = 0; row < PQntuples(stored); row++)
        offsets->next_offset[pg_int8(stored, row, 0) - 1] = pg_int8(stored, row, 1);
    pg_clear(results, n_results);
    return true;
}

bool issuance_move_offset(struct pg *pg, struct arena *arena, const struct kafka_place *place, int64_t stored,
                          int64_t next, struct err *err) {
    static const struct pg_statement move = {
        "update consumer_offset set next_offset = $4 where topic = $1 and partition = $2 and next_offset = $3"};
    struct pg_args args = {0};
    pg_arg_text(&args, place->topic);
    pg_arg_int4(&args, arena, place->partition);
    pg_arg_int8(&args, arena, stored);
    pg_arg_int8(&args, arena, next);
    PGresult *result;
    pg_send(pg, &move, &args);
    if (!pg_collect(pg, &result, 1, err))
        return false;
    pg_clear(&result, 1);
    return true;
}

static void send_lock_offsets(struct pg *pg, struct arena *arena, const struct issuance_batch *batch) {
    static const struct pg_statement lock = {
        "select i.n, o.next_offset from unnest($1::text[], $2::integer[]) with ordinality i(topic, partition, n)"
        " cross join lateral (select next_offset from consumer_offset" NEWEST_OF_PLACE " for update) o"};
    struct pg_args args = {0};
    arg_places(&args, arena, batch->places, batch->n_places);
    pg_send(pg, &lock, &args);
}

/* Runs: consecutive tickets of a coupon. Arrays of n elements. */
struct runs {
    size_t n;
    int64_t *coupon_id, *first_ticket, *last_ticket;
};

struct ticket {
    int64_t coupon_id, ticket;
};

static int by_ticket(const void *a, const void *b) {
    const struct ticket *x = a, *y = b;
    if (x->coupon_id != y->coupon_id)
        return x->coupon_id < y->coupon_id ? -1 : 1;
    return x->ticket < y->ticket ? -1 : x->ticket > y->ticket;
}

/* True if the ticket extends a run that ends with last_ticket: it is the next ticket, or the same one, as in an event
 * that came twice. Forged events may have any ticket, and last_ticket + 1 could overflow. */
static bool follows(int64_t last_ticket, int64_t ticket) {
    return ticket == last_ticket || ticket - 1 == last_ticket;
}

/* Sorts the tickets by coupon and ticket, and makes runs of them in that order. */
static struct runs runs_of(struct arena *arena, struct ticket *tickets, size_t n) {
    struct runs runs = {
        .coupon_id = ARENA_ARRAY(arena, int64_t, n),
        .first_ticket = ARENA_ARRAY(arena, int64_t, n),
        .last_ticket = ARENA_ARRAY(arena, int64_t, n),
    };
    bool is_sorted = true;
    for (size_t i = 1; i < n && is_sorted; i++)
        is_sorted = by_ticket(&tickets[i - 1], &tickets[i]) <= 0;
    if (!is_sorted)
        qsort(tickets, n, sizeof *tickets, by_ticket);
    for (size_t i = 0; i < n; i++) {
        const struct ticket *ticket = &tickets[i];
        size_t last = runs.n - 1;
        if (runs.n > 0 && runs.coupon_id[last] == ticket->coupon_id &&
            follows(runs.last_ticket[last], ticket->ticket)) {
            runs.last_ticket[last] = ticket->ticket;
            continue;
        }
        runs.coupon_id[runs.n] = ticket->coupon_id;
        runs.first_ticket[runs.n] = runs.last_ticket[runs.n] = ticket->ticket;
        runs.n++;
    }
    return runs;
}

static void arg_runs(struct pg_args *args, struct arena *arena, const struct runs *runs) {
    pg_arg_int8s(args, arena, runs->coupon_id, runs->n);
    pg_arg_int8s(args, arena, runs->first_ticket, runs->n);
    pg_arg_int8s(args, arena, runs->last_ticket, runs->n);
}

static void send_read_ledger(struct pg *pg, struct arena *arena, const struct issuance_batch *batch) {
    /* The rows come in the order of the runs, and by ticket within each run. */
    static const struct pg_statement read = {
        "select i.coupon_id, p.* from unnest($1::bigint[], $2::bigint[], $3::bigint[]) i(coupon_id, first, last)"
        " cross join lateral (select ticket, user_id, accept_time, request_id from publish_request"
        "  where coupon_id = i.coupon_id and ticket between i.first and i.last order by ticket) p"};
    struct ticket *tickets = ARENA_ARRAY(arena, struct ticket, batch->n_events);
    size_t n = 0;
    for (size_t i = 0; i < batch->n_events; i++)
        if (batch->events[i].coupon_id) /* 0: the event can't be decoded */
            tickets[n++] = (struct ticket){batch->events[i].coupon_id, batch->events[i].ticket};
    struct runs runs = runs_of(arena, tickets, n);
    struct pg_args args = {0};
    arg_runs(&args, arena, &runs);
    pg_send(pg, &read, &args);
}

/* Returns the index of the ticket's row, or the index where it would be. Most events come in the order of the rows, so
 * this tries the row at `guess`, the last one found, and the next one before it searches by bisection. */
static int find_row(const PGresult *rows, int guess, const struct ticket *wanted) {
    int n = PQntuples(rows), low = 0, high = n;
    for (int at = guess; at < n && at <= guess + 1; at++) {
        const struct ticket ticket = {pg_int8(rows, at, 0), pg_int8(rows, at, 1)};
        if (by_ticket(&ticket, wanted) == 0)
            return at;
    }
    while (low < high) {
        int middle = low + (high - low) / 2;
        const struct ticket ticket = {pg_int8(rows, middle, 0), pg_int8(rows, middle, 1)};
        if (by_ticket(&ticket, wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void read_ledger(const PGresult *rows, struct arena *arena, struct issuance_event *events, size_t n) {
    int row = 0;
    for (size_t i = 0; i < n; i++) {
        struct issuance_event *event = &events[i];
        const struct ticket wanted = {event->coupon_id, event->ticket};
        row = find_row(rows, row, &wanted);
        if (row == PQntuples(rows) || pg_int8(rows, row, 0) != wanted.coupon_id ||
            pg_int8(rows, row, 1) != wanted.ticket)
            continue;
        event->ledger_user_id = pg_int8(rows, row, 2);
        event->accept_us = pg_time(rows, row, 3, 0);
        event->request_id_len = (size_t)PQgetlength(rows, row, 4);
        event->request_id =
            memcpy(arena_alloc(arena, event->request_id_len), PQgetvalue(rows, row, 4), event->request_id_len);
    }
}

/* A failed transaction may leave wrong coupons in the cache. */
static bool failed(const struct issuance_batch *batch) {
    coupon_cache_forget(batch->cache);
    return false;
}

static struct locked_coupons locked_coupons(const struct issuance_batch *batch) {
    return (struct locked_coupons){.heads = &batch->heads, .coupons = batch->coupons, .n = batch->n_coupons};
}

bool issuance_look_up(struct pg *pg, struct arena *arena, const struct issuance_batch *batch,
                      struct issuance_event *const *events, size_t n, struct err *err) {
    static const struct pg_statement look_up = {
        "select i.n, coalesce(d.last_ticket >= i.ticket, false) or r.reason is not null"
        " from unnest($1::bigint[], $2::bigint[]) with ordinality i(coupon_id, ticket, n)"
        " left join lateral (select last_ticket from issued where coupon_id = i.coupon_id and first_ticket <= i.ticket"
        "  order by first_ticket desc limit 1) d on true"
        " left join lateral (select reason from rejection"
        "  where coupon_id = i.coupon_id and ticket = i.ticket limit 1) r on true"};
    int64_t *coupon_id = ARENA_ARRAY(arena, int64_t, n), *ticket = ARENA_ARRAY(arena, int64_t, n);
    for (size_t i = 0; i < n; i++) {
        coupon_id[i] = events[i]->coupon_id;
        ticket[i] = events[i]->ticket;
    }
    struct pg_args args = {0};
    pg_arg_int8s(&args, arena, coupon_id, n);
    pg_arg_int8s(&args, arena, ticket, n);
    PGresult *result;
    pg_send(pg, &look_up, &args);
    if (!pg_collect(pg, &result, 1, err))
        return failed(batch);
    for (int row = 0; row < PQntuples(result); row++)
        events[pg_int8(result, row, 0) - 1]->is_decided = pg_bool(result, row, 1);
    pg_clear(&result, 1);
    return true;
}

bool issuance_read(struct pg *pg, struct arena *arena, int lanes, struct issuance_batch *batch, struct err *err) {
    int64_t *ids = ARENA_ARRAY(arena, int64_t, batch->n_coupons);
    for (size_t i = 0; i < batch->n_coupons; i++)
        ids[i] = batch->coupons[i].id;
    outbox_heads_init(&batch->heads, arena, ids, batch->n_coupons, lanes);
    enum { OFFSETS = 1, LOCK, COUPONS = LOCK + OUTBOX_LOCK_STATEMENTS, STATEMENTS = COUPONS + 2 };
    pg_send(pg, &pg_begin, NULL);
    send_lock_offsets(pg, arena, batch);
    outbox_send_lock(pg, arena, STREAM_PUBLISHED, &batch->heads);
    int ledger = COUPONS + coupon_cache_send_read(batch->cache, pg, arena, batch->coupons, batch->n_coupons);
    send_read_ledger(pg, arena, batch);
    PGresult *results[STATEMENTS];
    if (!pg_collect(pg, results, ledger + 1, err))
        return failed(batch);
    for (int row = 0; row < PQntuples(results[OFFSETS]); row++)
        batch->next_offset[pg_int8(results[OFFSETS], row, 0) - 1] = pg_int8(results[OFFSETS], row, 1);
    if (batch->heads.n)
        outbox_read_lock(&results[LOCK], &batch->heads, &batch->segment, &batch->now_us);
    read_ledger(results[ledger], arena, batch->events, batch->n_events);
    const struct locked_coupons coupons = locked_coupons(batch);
    bool ok = coupon_cache_read(batch->cache, pg, arena, results[COUPONS], &coupons, err);
    pg_clear(results, ledger + 1);
    return ok || failed(batch);
}

/* The guards of `issued` and `rejection` move the counters of issuance. */
static int send_issued(struct pg *pg, struct arena *arena, const struct issuance_rows *rows, int64_t now_us) {
    static const struct pg_statement insert = {
        "insert into issued (coupon_id, first_ticket, last_ticket, issue_time)"
        " select i.*, $4 from unnest($1::bigint[], $2::bigint[], $3::bigint[]) i"};
    struct ticket *tickets = ARENA_ARRAY(arena, struct ticket, rows->n_issued);
    for (size_t i = 0; i < rows->n_issued; i++)
        tickets[i] = (struct ticket){rows->issued_coupon_id[i], rows->issued_ticket[i]};
    struct runs runs = runs_of(arena, tickets, rows->n_issued);
    struct pg_args args = {0};
    arg_runs(&args, arena, &runs);
    pg_arg_time(&args, arena, now_us);
    pg_send(pg, &insert, &args);
    return 1;
}

static int send_rejected(struct pg *pg, struct arena *arena, const struct issuance_rows *rows) {
    static const struct pg_statement insert = {
        "insert into rejection (coupon_id, ticket, reason, reject_time)"
        " select i.coupon_id, i.ticket, i.reason, clock_timestamp()"
        " from unnest($1::bigint[], $2::bigint[], $3::integer[]) i(coupon_id, ticket, reason) on conflict do nothing"};
    struct pg_args args = {0};
    pg_arg_int8s(&args, arena, rows->rejected_coupon_id, rows->n_rejected);
    pg_arg_int8s(&args, arena, rows->rejected_ticket, rows->n_rejected);
    pg_arg_int4s(&args, arena, rows->rejected_reason, rows->n_rejected);
    pg_send(pg, &insert, &args);
    return 1;
}

bool issuance_write(struct pg *pg, struct arena *arena, struct issuance_batch *batch, const struct issuance_rows *rows,
                    const struct outbox_batch *outbox, struct err *err) {
    static const struct pg_statement offsets = {
        "update consumer_offset o set next_offset = i.next_offset"
        " from unnest($1::text[], $2::integer[], $3::bigint[]) i(topic, partition, next_offset)"
        " where o.ctid = (select ctid from consumer_offset" NEWEST_OF_PLACE ")"};
    struct pg_args args = {0};
    arg_places(&args, arena, batch->places, batch->n_places);
    pg_arg_int8s(&args, arena, batch->next_offset, batch->n_places);
    int n = 2;
    pg_send(pg, &offsets, &args);
    if (rows->n_issued) {
        n += send_issued(pg, arena, rows, batch->now_us);
        outbox_send_append(pg, arena, STREAM_PUBLISHED, batch->segment, outbox, batch->now_us);
        n += OUTBOX_APPEND_STATEMENTS;
    }
    if (rows->n_rejected)
        n += send_rejected(pg, arena, rows);
    if (rows->n_rejected) {
        outbox_send_raise_epoch(pg, arena, STREAM_PUBLISHED, &batch->heads);
        n++;
    }
    if (rows->dead.n) {
        dead_letters_send_add(pg, arena, &rows->dead);
        n++;
    }
    pg_send(pg, &pg_commit, NULL);
    PGresult *results[8 + OUTBOX_APPEND_STATEMENTS];
    FAULT_POINT("issue", "before_commit");
    if (rows->dead.n)
        FAULT_POINT("issue", "before_dead_letter");
    if (!pg_collect(pg, results, n, err))
        return failed(batch);
    FAULT_POINT("issue", "after_commit");
    if (rows->dead.n)
        FAULT_POINT("issue", "after_dead_letter");
    pg_clear(results, n);
    const struct locked_coupons coupons = locked_coupons(batch);
    coupon_cache_keep(batch->cache, &coupons);
    return true;
}

void issuance_abandon(struct pg *pg, const struct issuance_batch *batch) {
    const struct locked_coupons coupons = locked_coupons(batch);
    (void)coupon_cache_roll_back(batch->cache, pg, &coupons);
}

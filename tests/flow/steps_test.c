/* SPDX-License-Identifier: Apache-2.0 */
/* Tests single steps on real servers: admit's transaction, the outbox and its relay. issue_steps_test.c tests issue and
 * the later steps. Scenarios drive gate and admit through the whole server. */
#include <criterion/criterion.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/murmur2.h"
#include "flow/issue/batch.h"
#include "flow/relay.h"
#include "model/admit_decide.h"
#include "steps_fixture.h"
#include "store/admission.h"
#include "store/coupon_rows.h"
#include "store/lookup.h"
#include "store/schema.h"

TestSuite(steps, .timeout = 300);

/* Reads all of the lane's events. `lane` must outlive the page, which the caller clears. Returns the number of
 * events. */
static size_t read_outbox(struct fixture *fixture, const int32_t *lane, struct outbox_page *page) {
    static const int64_t after = 0;
    struct err err;
    *page = (struct outbox_page){.n_lanes = 1, .lane = lane, .after = &after, .max_rows = 100};
    cr_assert(outbox_read(fixture->pg, &fixture->arena, STREAM_REQUESTED, page, &err), "%s", err.text);
    return page->n;
}

/* --- admit's transaction --- */

#define THREADS 4
#define ROUNDS  25
#define BATCH   20

struct admitting {
    struct fixture *fixture;
    int64_t first_user;
};

/* The resources of a worker of admit. */
struct admitter {
    struct pg *pg;
    struct arena *arena;
    struct coupon_cache *cache;
    int lanes;
    struct admission_memory *memory; /* NULL: none */
};

/* Runs a batch. Returns the number of accepted requests. */
static size_t admit_batch(const struct admitter *admitter, int64_t coupon_id, int64_t first_user, bool with_ledger) {
    struct pg *pg = admitter->pg;
    struct arena *arena = admitter->arena;
    int lanes = admitter->lanes;
    struct coupon coupon = {.id = coupon_id};
    int64_t coupon_ids[BATCH], user_ids[BATCH], tickets[BATCH];
    const char *request_ids[BATCH];
    bool in_ledger[BATCH];
    struct admit_ask asks[BATCH];
    struct admit_answer answers[BATCH];
    struct err err;
    for (int i = 0; i < BATCH; i++) {
        coupon_ids[i] = coupon_id;
        user_ids[i] = first_user + i;
        request_ids[i] = "r";
    }
    struct admission_batch batch = {.cache = admitter->cache,
                                    .memory = admitter->memory,
                                    .n_coupons = 1,
                                    .coupons = &coupon,
                                    .n_asks = BATCH,
                                    .coupon_id = coupon_ids,
                                    .user_id = user_ids,
                                    .in_ledger = in_ledger};
    cr_assert(admission_read(pg, arena, lanes, &batch, with_ledger, &err), "%s", err.text);
    for (int i = 0; i < BATCH; i++)
        asks[i] = (struct admit_ask){0, user_ids[i], in_ledger[i]};
    admit_decide(arena, &coupon, asks, BATCH, batch.now_us, answers);
    struct admission_rows rows = {
        .coupon_id = coupon_ids, .user_id = user_ids, .ticket = tickets, .request_id = request_ids};
    struct outbox_batch outbox;
    outbox_batch_init(&outbox, arena, &batch.heads);
    for (int i = 0; i < BATCH; i++) {
        if (answers[i].verdict != ADMIT_ACCEPTED)
            continue;
        size_t at = rows.n++;
        user_ids[at] = user_ids[i];
        tickets[at] = answers[i].ticket;
        const struct outbox_event event = {.coupon_id = coupon_id, .ticket = answers[i].ticket, .payload = {"x", 1}};
        outbox_put(&outbox, murmur2_slot_of_id(coupon_id, lanes), &event);
    }
    if (rows.n == 0)
        admission_abandon(pg, &batch);
    else
        cr_assert(admission_write(pg, arena, &batch, &rows, &outbox, &err), "%s", err.text);
    arena_reset(arena);
    return rows.n;
}

/* Admits one request by what the worker remembers. */
static enum admission_outcome admit_recalled(const struct admitter *admitter, int64_t coupon_id, int64_t user_id) {
    struct coupon coupon = {.id = coupon_id};
    bool in_ledger;
    struct admission_batch batch = {.cache = admitter->cache,
                                    .memory = admitter->memory,
                                    .n_coupons = 1,
                                    .coupons = &coupon,
                                    .n_asks = 1,
                                    .coupon_id = &coupon_id,
                                    .user_id = &user_id,
                                    .in_ledger = &in_ledger};
    struct err err;
    cr_assert(admission_recall(admitter->arena, admitter->lanes, &batch));
    int64_t ticket = ++coupon.accepted;
    const char *request_id = "r";
    struct admission_rows rows = {1, &coupon_id, &user_id, &ticket, &request_id};
    struct outbox_batch outbox;
    outbox_batch_init(&outbox, admitter->arena, &batch.heads);
    const struct outbox_event event = {.coupon_id = coupon_id, .ticket = ticket, .payload = {"x", 1}};
    outbox_put(&outbox, murmur2_slot_of_id(coupon_id, admitter->lanes), &event);
    enum admission_outcome outcome =
        admission_write_recalled(admitter->pg, admitter->arena, &batch, &rows, &outbox, &err);
    cr_assert_neq(outcome, ADMISSION_FAILED, "%s", err.text);
    arena_reset(admitter->arena);
    return outcome;
}

/* The first statements are slow, since Postgres has to plan them, and so the remembered clock may be ahead at first. */
static void admit_by_memory(const struct admitter *admitter, int64_t coupon_id, int64_t user_id) {
    for (int i = 0; i < 20; i++)
        if (admit_recalled(admitter, coupon_id, user_id) == ADMISSION_WRITTEN)
            return;
    cr_assert_fail("the memory stays stale");
}

static void *admit_much(void *arg) {
    const struct admitting *admitting = arg;
    const struct fixture *fixture = admitting->fixture;
    struct arena arena;
    struct err err;
    struct pg *pg = pg_new(&fixture->context.hot);
    arena_init(&arena, 65536);
    cr_assert(pg_connect(pg, &err), "%s", err.text);
    struct coupon_cache *cache = coupon_cache_new((int)fixture->config.flow_lanes);
    const struct admitter admitter = {pg, &arena, cache, (int)fixture->config.flow_lanes, NULL};
    for (int i = 0; i < ROUNDS; i++)
        admit_batch(&admitter, fixture->coupon_id, admitting->first_user + i * BATCH, i % 2 == 0);
    coupon_cache_free(cache);
    pg_free(pg);
    arena_deinit(&arena);
    return NULL;
}

Test(steps, admit_gives_tickets_without_gaps_to_many_at_once_and_no_more_than_there_are) {
    struct fixture fixture;
    pthread_t threads[THREADS];
    struct admitting admitting[THREADS];
    fixture_init(&fixture);
    fixture_coupon(&fixture, 1500); /* for 2,000 requests */
    for (int i = 0; i < THREADS; i++) {
        admitting[i] = (struct admitting){&fixture, 1 + i * ROUNDS * BATCH};
        pthread_create(&threads[i], NULL, admit_much, &admitting[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(fixture_number(&fixture, "select count(distinct ticket) from publish_request"), 1500);
    cr_assert_eq(fixture_number(&fixture, "select max(ticket) from publish_request"), 1500);
    cr_assert_eq(fixture_number(&fixture, "select accepted from admission"), 1500);
    /* The outbox's ids follow the tickets in commit order, without gaps. */
    int32_t lane = murmur2_slot_of_id(fixture.coupon_id, 8);
    struct outbox_page page;
    size_t n = read_outbox(&fixture, &lane, &page);
    cr_assert_eq(n, 1500);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(page.entries[i].id, (int64_t)i + 1);
        cr_assert_eq(page.entries[i].ticket, page.entries[i].id);
    }
    outbox_page_clear(&page);
    fixture_deinit(&fixture);
}

Test(steps, what_a_worker_remembers_of_a_coupon_ends_when_anybody_else_touches_it) {
    struct fixture fixture;
    struct err err;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 7 * BATCH);
    struct coupon_cache *caches[2] = {coupon_cache_new(8), coupon_cache_new(8)};
    const struct admitter a = {fixture.pg, &fixture.arena, caches[0], 8, NULL};
    const struct admitter b = {fixture.pg, &fixture.arena, caches[1], 8, NULL};
    int64_t user = 1;
    for (int turn = 0; turn < 6; turn++, user += BATCH) /* workers A and B alternate after two batches: A A B B A A */
        cr_assert_eq(admit_batch(turn / 2 % 2 ? &b : &a, fixture.coupon_id, user, false), BATCH);
    cr_assert_eq(fixture_number(&fixture, "select max(ticket) from publish_request"), 6 * BATCH);
    struct coupon_detail detail = {.row.id = fixture.coupon_id};
    cr_assert_eq(coupon_set_status(fixture.pg, &fixture.arena, 8, COUPON_PAUSED, &detail, &err), COUPON_OK);
    cr_assert_eq(admit_batch(&a, fixture.coupon_id, user, false), 0);
    cr_assert_eq(admit_batch(&b, fixture.coupon_id, user, false), 0);
    fixture_sql(&fixture, "update coupon set status = 1"); /* a change by hand */
    cr_assert_eq(admit_batch(&a, fixture.coupon_id, user, false), BATCH);
    cr_assert_eq(admit_batch(&b, fixture.coupon_id, user + BATCH, false), 0);
    const struct coupon_addition addition = {fixture.coupon_id, 5, ""};
    cr_assert_eq(coupon_add_quantity(fixture.pg, &fixture.arena, 8, &addition, &detail, &err), COUPON_OK);
    cr_assert_eq(admit_batch(&b, fixture.coupon_id, user + BATCH, false), 5);
    coupon_cache_free(caches[0]);
    coupon_cache_free(caches[1]);
    fixture_deinit(&fixture);
}

Test(steps, a_recalled_batch_is_written_only_if_nobody_else_has_touched_the_lane) {
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 1000);
    struct coupon_cache *caches[2] = {coupon_cache_new(8), coupon_cache_new(8)};
    struct admission_memory memories[2] = {{0}};
    const struct admitter a = {fixture.pg, &fixture.arena, caches[0], 8, &memories[0]};
    const struct admitter b = {fixture.pg, &fixture.arena, caches[1], 8, &memories[1]};
    int64_t id = fixture.coupon_id, user = 1, n = 0;
    n += (int64_t)admit_batch(&a, id, user, false);
    for (int i = 0; i < 10; i++, n++)
        admit_by_memory(&a, id, user + n);
    n += (int64_t)admit_batch(&b, id, user + n, false); /* another process */
    cr_assert_eq(admit_recalled(&a, id, user + n), ADMISSION_STALE);
    admit_by_memory(&b, id, user + n++);
    n += (int64_t)admit_batch(&a, id, user + n, false);
    fixture_sql(&fixture, "update coupon set status = 2"); /* a change by hand */
    cr_assert_eq(admit_recalled(&a, id, user + n), ADMISSION_STALE);
    fixture_sql(&fixture, "update coupon set status = 1");
    n += (int64_t)admit_batch(&a, id, user + n, false);
    fixture_sql(&fixture, "update outbox_segment set current = 1 - current");
    cr_assert_eq(admit_recalled(&a, id, user + n), ADMISSION_STALE);
    n += (int64_t)admit_batch(&a, id, user + n, false);
    memories[0].ahead_us += US_PER_S; /* a clock that is ahead, and one that is behind */
    cr_assert_eq(admit_recalled(&a, id, user + n), ADMISSION_STALE);
    memories[0].ahead_us -= 2 * US_PER_S;
    memories[0].last_us = 0;
    cr_assert_eq(admit_recalled(&a, id, user + n), ADMISSION_STALE);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from publish_request"), n);
    cr_assert_eq(fixture_number(&fixture, "select max(ticket) from publish_request"), n);
    cr_assert_eq(fixture_number(&fixture, "select accepted from admission"), n);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from (select accept_time < lag(accept_time) over (order by"
                                          " ticket) as is_back from publish_request) t where is_back"),
                 0);
    int32_t lane = murmur2_slot_of_id(id, 8);
    struct outbox_page page;
    cr_assert_eq(read_outbox(&fixture, &lane, &page), (size_t)n);
    outbox_page_clear(&page);
    coupon_cache_free(caches[0]);
    coupon_cache_free(caches[1]);
    fixture_deinit(&fixture);
}

Test(steps, a_batch_whose_connection_dies_before_the_commit_leaves_nothing) {
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 5);
    struct coupon coupon = {.id = fixture.coupon_id};
    int64_t user = 1, coupon_id = fixture.coupon_id;
    bool in_ledger;
    struct admission_batch batch = {.n_coupons = 1,
                                    .coupons = &coupon,
                                    .n_asks = 1,
                                    .coupon_id = &coupon_id,
                                    .user_id = &user,
                                    .in_ledger = &in_ledger};
    struct err err;
    cr_assert(admission_read(fixture.pg, &fixture.arena, 8, &batch, false, &err), "%s", err.text);
    cr_assert_eq(fixture_number(&fixture,
                                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                                " where application_name = '%s' and state = 'idle in transaction'",
                                fixture.schema),
                 1);
    struct outbox_batch outbox;
    outbox_batch_init(&outbox, &fixture.arena, &batch.heads);
    int64_t ticket = 1;
    const char *request_id = "r";
    struct admission_rows rows = {1, &coupon_id, &user, &ticket, &request_id};
    coupon.accepted = 1;
    cr_assert_not(admission_write(fixture.pg, &fixture.arena, &batch, &rows, &outbox, &err));
    cr_assert(err.retriable);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from publish_request"), 0);
    cr_assert_eq(fixture_number(&fixture, "select accepted from admission"), 0);
    fixture_deinit(&fixture);
}

/* --- plans --- */

/* Checks the plan of every statement that was prepared on the connection. */
static void check_plans(struct fixture *fixture) {
    static const char check[] =
        "do $$ declare s record; line text; begin"
        " for s in select name, statement, coalesce(array_length(parameter_types, 1), 0) n from pg_prepared_statements"
        "  where statement ~ '^(select|insert|update|with)' and statement !~ 'schema_migration|setting|admin_request' "
        "loop"
        "  for line in execute 'explain execute ' || s.name"
        "   || case when s.n = 0 then '' else '(' || repeat('null, ', s.n - 1) || 'null)' end loop"
        "   if line ~ 'Seq Scan on (coupon|admission|issuance|publish_request|issued|rejection|outbox|relay)'"
        "    or line ~ '(Hash|Merge) ' or line ~ '(Sort|Materialize)'"
        /* Statements must read rows that each batch updates newest version first (store/newest.h). */
        "    or s.statement !~ 'discount_rate'"
        "     and line ~ 'Index Scan using (admission|issuance|outbox_head|relay_cursor|consumer_offset)_pkey' then"
        "    raise exception '% in %', line, s.statement; end if;"
        "  end loop; end loop; end $$";
    struct err err;
    cr_assert(pg_exec(fixture->pg, check, &err), "%s", err.text);
}

static void use_hot_statements(struct fixture *fixture, int64_t first_user) {
    struct issue_batch_result result;
    struct err err;
    int32_t lane = murmur2_slot_of_id(fixture->coupon_id, 8);
    struct kafka_place place = {"t", 0};
    int64_t after = 0, next, now_us;
    struct coupon_cache *cache = coupon_cache_new(8);
    struct admission_memory memory = {0};
    const struct admitter admitter = {fixture->pg, &fixture->arena, cache, 8, &memory};
    admit_batch(&admitter, fixture->coupon_id, first_user, true);
    admit_by_memory(&admitter, fixture->coupon_id, first_user + BATCH);
    coupon_cache_free(cache);
    const struct issue_means means = {fixture->pg, &fixture->arena, NULL, 8, NULL};
    struct issuance_batch none = {0};
    struct issuance_event *unsure[] = {&(struct issuance_event){.coupon_id = fixture->coupon_id, .ticket = 1}};
    cr_assert(issuance_look_up(fixture->pg, &fixture->arena, &none, unsure, 1, &err), "%s", err.text);
    const struct stored_offsets offsets = {1, &place, &after, &next};
    cr_assert(issuance_offsets(fixture->pg, &fixture->arena, &offsets, &err), "%s", err.text);
    struct pg_bytes bytes = fixture_event(fixture, STREAM_REQUESTED, first_user, next + 1);
    struct kafka_message message = {.place = place, .offset = next, .value = bytes.data, .value_len = bytes.len};
    cr_assert(issue_batch_run(&means, &message, 1, &(struct accepted_gap){place, -1}, &result, &err), "%s", err.text);
    struct outbox_page page = {.n_lanes = 1, .lane = &lane, .after = &after, .max_rows = 10};
    cr_assert(outbox_read(fixture->pg, &fixture->arena, STREAM_REQUESTED, &page, &err));
    outbox_page_clear(&page);
    after = 1;
    const struct outbox_cursors cursors = {1, &lane, &after};
    cr_assert(outbox_move_cursors(fixture->pg, &fixture->arena, STREAM_REQUESTED, &cursors, &err));
    struct request_status status = {.coupon_id = fixture->coupon_id, .user_id = first_user}, held[10];
    struct coupon coupon = {.id = fixture->coupon_id};
    cr_assert(lookup_statuses(fixture->pg, &fixture->arena, &status, 1, &err));
    struct user_coupon_page held_page = {.user_id = first_user, .room = 10, .statuses = held};
    cr_assert(lookup_user_coupons(fixture->pg, &fixture->arena, &held_page, 1, &err));
    cr_assert(coupon_rows_load(fixture->pg, &fixture->arena, &coupon, 1, &now_us, &err));
    bool exists;
    cr_assert(coupon_rows_exist(fixture->pg, &fixture->arena, &fixture->coupon_id, 1, &exists, &err) && exists);
    int64_t user;
    struct ledger_page ledger = {.coupon_id = fixture->coupon_id, .after = after, .room = 1, .users = &user};
    cr_assert(lookup_ledger_users(fixture->pg, &fixture->arena, &ledger, &err));
}

/* Only these tables, since other tests may drop theirs meanwhile. */
#define ANALYZE                                                                                                        \
    "analyze coupon, admission, issuance, publish_request, issued, rejection, outbox_requested_0, outbox_requested_1," \
    " outbox_published_0, outbox_published_1, outbox_head, outbox_segment, relay_cursor, consumer_offset"

Test(steps, no_hot_statement_has_a_plan_that_depends_on_statistics) {
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 1000000);
    use_hot_statements(&fixture, 1);
    check_plans(&fixture);
    fixture_sql(&fixture, ANALYZE);
    check_plans(&fixture);
    fixture_sql(&fixture, "insert into coupon (id, name, quantity, status, discount_rate, create_time)"
                          " values (1, 'many', 30000, 1, 0, now());"
                          "insert into admission (coupon_id, quantity) values (1, 30000);"
                          "insert into issuance (coupon_id, quantity) values (1, 30000);"
                          "insert into publish_request select 1, g, g, 'r', now() from generate_series(1, 30000) g;"
                          "insert into issued select 1, g, g, now() from generate_series(1, 30000) g;"
                          "insert into outbox_requested_0 select 77, g, g, now(), 'x'"
                          " from generate_series(1, 30000) g;" ANALYZE);
    check_plans(&fixture);
    use_hot_statements(&fixture, 1000);
    check_plans(&fixture);
    fixture_deinit(&fixture);
}

/* Inserts two tickets for each of the coupons 1 to 100, one issued and one rejected. The database's triggers may read
 * at most this number of rows. One session does all, and plans the triggers' queries at its first insert. */
static void check_guards(struct fixture *fixture, int64_t ticket, int rows_max) {
    static const char read[] = "(select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))"
                               " from pg_stat_xact_user_tables)";
    long long first = (long long)ticket;
    fixture_sql(fixture,
                "do $$ declare n bigint := %s; begin"
                " insert into publish_request select g, t, t, 'r', now()"
                " from generate_series(1, 100) g, generate_series(%lld, %lld) t;"
                " insert into issued select g, %lld, %lld, now() from generate_series(1, 100) g;"
                " insert into rejection select g, %lld, 1, now() from generate_series(1, 100) g;"
                " n := %s - n; if n > %d then raise exception 'they read %% rows', n; end if; end $$",
                read, first, first + 1, first, first, first + 1, read, rows_max);
}

Test(steps, guards_look_up_by_key_however_small_the_tables_were_when_they_were_planned) {
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_sql(&fixture, "insert into coupon (id, name, quantity, status, discount_rate, create_time)"
                          " select g, 'many', 1000000, 1, 0, now() from generate_series(1, 100) g;"
                          "insert into admission (coupon_id, quantity) select id, quantity from coupon;"
                          "insert into issuance (coupon_id, quantity) select id, quantity from coupon");
    check_guards(&fixture, 1, INT_MAX);
    fixture_sql(&fixture, "insert into publish_request select 1, g, g, 'r', now() from generate_series(1000, 30000) g;"
                          "insert into issued select 1, g, g, now() from generate_series(1000, 30000) g");
    check_guards(&fixture, 3, 3000);
    fixture_deinit(&fixture);
}

/* --- schema --- */

Test(steps, migrating_again_changes_nothing_and_other_lanes_are_refused) {
    struct fixture fixture;
    struct err err;
    fixture_init(&fixture);
    cr_assert(schema_migrate(fixture.pg, &err), "%s", err.text);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from schema_migration"), n_migrations);
    cr_assert_not(schema_fix_lanes(fixture.pg, 5, &err));
    cr_assert_not_null(strstr(err.text, "set flow.lanes = 8"), "%s", err.text);
    fixture_sql(&fixture, "insert into schema_migration values (9999, 'later')");
    cr_assert_not(schema_migrate(fixture.pg, &err));
    cr_assert_not_null(strstr(err.text, "newer couponsd"), "%s", err.text);
    fixture_deinit(&fixture);
}

/* --- relay --- */

static int64_t cursors(struct fixture *fixture, int64_t expected) {
    fixture_wait_for(fixture, expected, "select sum(last_id)::bigint from relay_cursor where stream = 0");
    return expected;
}

static void read_topic(struct fixture *fixture, enum stream stream, size_t n, struct kafka_message *messages,
                       struct kafka_consumer **ret_consumer) {
    struct err err;
    struct kafka_consumer_events events = {0};
    cr_assert(kafka_consumer_new(&fixture->context.kafka, stream, "reader", &events, ret_consumer, &err), "%s",
              err.text);
    size_t got = 0;
    int64_t give_up_us = clock_mono_us() + 60 * (int64_t)US_PER_S;
    while (got < n && clock_mono_us() < give_up_us)
        got += kafka_consume(*ret_consumer, 100, messages + got, n - got);
    cr_assert_eq(got, n);
}

Test(steps, relay_sends_each_row_in_order_with_the_coupon_as_key_and_moves_its_cursor) {
    struct fixture fixture;
    struct kafka_message messages[30];
    struct kafka_consumer *consumer;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 100);
    for (int64_t ticket = 1; ticket <= 20; ticket++)
        fixture_outbox(&fixture, 1000 + ticket, ticket);
    struct relay *relay = fixture_relay(&fixture, STREAM_REQUESTED);
    cursors(&fixture, 20);
    for (int64_t ticket = 21; ticket <= 30; ticket++) /* the relay is idle */
        fixture_outbox(&fixture, 1000 + ticket, ticket);
    relay_wake(relay, false);
    cursors(&fixture, 30);
    relay_stop(relay);
    read_topic(&fixture, STREAM_REQUESTED, 30, messages, &consumer);
    char key[24];
    int key_len = snprintf(key, sizeof key, "%lld", (long long)fixture.coupon_id);
    for (int i = 0; i < 30; i++) {
        cr_assert_eq(messages[i].offset, i);
        cr_assert_eq(messages[i].place.partition, murmur2_slot_of_id(fixture.coupon_id, 4));
        cr_assert_eq(messages[i].key_len, (size_t)key_len);
        cr_assert_eq(memcmp(messages[i].key, key, messages[i].key_len), 0);
    }
    kafka_release(messages, 30);
    kafka_consumer_free(consumer);
    fixture_deinit(&fixture);
}

Test(steps, relay_waits_for_the_next_batches_of_who_is_at_them_already_but_not_for_many) {
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 100);
    fixture.config.relay_poll_ms = 10000;
    const struct metric *sent = metrics_counter("couponsd_relay_sent_total", "", "stream=\"requested\"");
    fixture_outbox(&fixture, 1001, 1); /* the relay reads existing rows at its start */
    struct relay *relay = fixture_relay(&fixture, STREAM_REQUESTED);
    for (int i = 0; i < 3000 && metric_value(sent) < 1; i++)
        clock_sleep_us(10 * US_PER_MS);
    cr_assert_eq(metric_value(sent), 1);
    clock_sleep_us(500 * US_PER_MS); /* Kafka acknowledges the event meanwhile */
    int64_t ticket = 1;
    for (; metric_value(sent) == 1 && ticket < 20; clock_sleep_us(200 * US_PER_MS)) {
        ticket++;
        fixture_outbox(&fixture, 1000 + ticket, ticket);
        relay_wake(relay, true);
    }
    cr_assert_gt(ticket, 2, "the relay did not wait for more events");
    cr_assert_lt(ticket, 10, "the relay waited for too many events");
    cr_assert_eq((int64_t)metric_value(sent), ticket, "the relay did not send them together");
    relay_stop(relay);
    fixture_deinit(&fixture);
}

Test(steps, two_relays_share_no_lane_and_the_second_takes_over_when_the_first_ends) {
    struct fixture fixture;
    struct err err;
    int32_t lanes[] = {0, 1, 2};
    bool own[3];
    int64_t cursor[3];
    int version[3];
    const struct outbox_lanes two = {2, lanes, own, cursor, version}, three = {3, lanes, own, cursor, version};
    fixture_init(&fixture);
    struct pg *other = pg_new(&fixture.context.hot);
    cr_assert(pg_connect(other, &err), "%s", err.text);
    cr_assert(outbox_take_lanes(fixture.pg, STREAM_REQUESTED, &two, &err));
    cr_assert(own[0] && own[1]);
    cr_assert(outbox_take_lanes(other, STREAM_REQUESTED, &three, &err));
    cr_assert(!own[0] && !own[1] && own[2]);
    cr_assert(outbox_take_lanes(other, STREAM_PUBLISHED, &three, &err));
    cr_assert(own[0] && own[1] && own[2], "the streams must not share lanes");
    pg_disconnect(fixture.pg);
    for (int i = 0; i < 500 && !(own[0] = false); i++) {
        cr_assert(outbox_take_lanes(other, STREAM_REQUESTED, &two, &err));
        if (own[0] && own[1])
            break;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    cr_assert(own[0] && own[1]);
    pg_free(other);
    fixture_deinit(&fixture);
}

/* --- outbox segments --- */

Test(steps, segments_take_turns_and_only_what_was_relayed_is_truncated) {
    struct fixture fixture;
    struct err err;
    enum outbox_rotation rotated;
    struct outbox_page page;
    fixture_init(&fixture);
    fixture_coupon(&fixture, 100);
    int32_t lane = murmur2_slot_of_id(fixture.coupon_id, 8);
    for (int64_t ticket = 1; ticket <= 3; ticket++)
        fixture_outbox(&fixture, ticket, ticket);
    cr_assert(outbox_rotate(fixture.pg, &fixture.arena, STREAM_REQUESTED, 0, &rotated, &err), "%s", err.text);
    cr_assert_eq(rotated, OUTBOX_ROTATED, "the other segment is empty");
    for (int64_t ticket = 4; ticket <= 5; ticket++)
        fixture_outbox(&fixture, ticket, ticket);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from outbox_requested_1"), 2);
    cr_assert(outbox_rotate(fixture.pg, &fixture.arena, STREAM_REQUESTED, 0, &rotated, &err), "%s", err.text);
    cr_assert_eq(rotated, OUTBOX_NOT_DUE, "the first three events were not relayed");
    cr_assert_eq(read_outbox(&fixture, &lane, &page), 5);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(page.entries[i].id, i + 1);
    outbox_page_clear(&page);
    /* Reading stops at a gap. */
    fixture_sql(&fixture, "delete from outbox_requested_0 where id = 2");
    cr_assert_eq(read_outbox(&fixture, &lane, &page), 1);
    outbox_page_clear(&page);
    int64_t last_id = 3;
    const struct outbox_cursors cursors = {1, &lane, &last_id};
    cr_assert(outbox_move_cursors(fixture.pg, &fixture.arena, STREAM_REQUESTED, &cursors, &err));
    cr_assert(outbox_rotate(fixture.pg, &fixture.arena, STREAM_REQUESTED, 0, &rotated, &err), "%s", err.text);
    cr_assert_eq(rotated, OUTBOX_ROTATED);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from outbox_requested_0"), 0);
    cr_assert_eq(fixture_number(&fixture, "select count(*) from outbox_requested_1"), 2);
    fixture_deinit(&fixture);
}

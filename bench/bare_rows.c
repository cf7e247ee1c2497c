/* SPDX-License-Identifier: Apache-2.0 */
/* The ceiling that Postgres sets for couponsd: writes the rows of accepting, or of issuing, with libpq alone.
 *
 *   bench_bare_rows accept|issue|issue_by_row POSTGRES_URL [--rows N] [--coupons K] [--batch N]
 *
 * The first schema of the search path must be one that couponsd has made and nobody uses. The program makes the coupons
 * and then times the transactions, `--batch` rows each, one after the other on one connection: one round trip in
 * pipeline mode, prepared statements, binary arrays. It reads nothing and takes no explicit locks. Row i belongs to
 * coupon i % K. `issue` writes a range of tickets for each coupon of a batch. `issue_by_row` instead writes a row for
 * each ticket into the table user_coupon_rows, which must exist. Prints JSON. */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bare_pg.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/murmur2.h"

#define PG_EPOCH_US  INT64_C(946684800000000) /* Postgres counts from 2000-01-01 */
#define ROWS         200000
#define BATCH        1000
#define BATCH_MAX    10000
#define COUPONS_MAX  1000
#define LANES        8                   /* flow.lanes */
#define FIRST_COUPON INT64_C(1000000001) /* as many digits as the ids of bench.py */
#define EVENT_HEAD   20                  /* coupon, ticket, two lengths */
#define PAYLOAD      60
#define EVENTS_MAX   8000 /* bytes of events in a row of the outbox */
#define LANE_ROOM    (BATCH_MAX * (EVENT_HEAD + PAYLOAD))

/* --- rows --- */

enum mode { ACCEPT, ISSUE, ISSUE_BY_ROW };

struct outbox_lane {
    int64_t last_id;
    struct param rows; /* the events of this batch */
    struct cut {
        int64_t first_id, last_id;
        size_t begin, end;
    } * cuts;
    size_t n_cuts;
};

static struct load {
    enum mode mode;
    int64_t rows, coupons, batch;
    int lane_of[COUPONS_MAX];
    int64_t given[COUPONS_MAX], before[COUPONS_MAX]; /* tickets so far, and tickets before the batch */
    struct outbox_lane lanes[LANES];
    int64_t next_offset;
    struct param coupon_id, user_id, ticket, request_id, now;
    struct param counted_id, counted, first_ticket; /* of the coupons of a batch */
    struct param lane, id, first_id, events;
    struct param topic, partition, offset;
} load = {.rows = ROWS, .coupons = 1, .batch = BATCH};

static void add_event(int64_t coupon, int64_t coupon_id, int64_t ticket) {
    static const char payload[PAYLOAD + 1] = "about as many bytes as an event has when protobuf encodes it";
    struct outbox_lane *lane = &load.lanes[load.lane_of[coupon]];
    bool is_first = lane->n_cuts == 0;
    struct cut *cut = &lane->cuts[is_first ? 0 : lane->n_cuts - 1];
    size_t at = (size_t)(lane->rows.at - lane->rows.data);
    lane->last_id++;
    if (is_first || at + EVENT_HEAD + PAYLOAD - cut->begin > EVENTS_MAX) {
        cut = &lane->cuts[lane->n_cuts++];
        *cut = (struct cut){.first_id = lane->last_id, .begin = at};
    }
    put64(&lane->rows, coupon_id);
    put64(&lane->rows, ticket);
    put16(&lane->rows, 0); /* no traceparent */
    put16(&lane->rows, PAYLOAD);
    put_bytes(&lane->rows, payload, PAYLOAD);
    cut->last_id = lane->last_id;
    cut->end = at + EVENT_HEAD + PAYLOAD;
}

static void fill_outbox(void) {
    size_t n = 0;
    for (int l = 0; l < LANES; l++)
        n += load.lanes[l].n_cuts;
    param_restart(&load.lane, n);
    param_restart(&load.id, n);
    param_restart(&load.first_id, n);
    param_restart(&load.events, n);
    for (int l = 0; l < LANES; l++)
        for (size_t c = 0; c < load.lanes[l].n_cuts; c++) {
            const struct cut *cut = &load.lanes[l].cuts[c];
            put_item_int4(&load.lane, l);
            put_item_int8(&load.id, cut->last_id);
            put_item_int8(&load.first_id, cut->first_id);
            put_item(&load.events, load.lanes[l].rows.data + cut->begin, cut->end - cut->begin);
        }
}

static void fill_counts(const bool *touched) {
    size_t n = 0;
    for (int64_t c = 0; c < load.coupons; c++)
        n += touched[c];
    param_restart(&load.counted_id, n);
    param_restart(&load.counted, n);
    param_restart(&load.first_ticket, n);
    for (int64_t c = 0; c < load.coupons; c++)
        if (touched[c]) {
            put_item_int8(&load.counted_id, FIRST_COUPON + c);
            put_item_int8(&load.counted, load.given[c]);
            put_item_int8(&load.first_ticket, load.before[c] + 1);
        }
}

/* The rows of the ledger, or the holders of its tickets. */
static void fill_row(int64_t coupon_id, int64_t user_id, int64_t ticket) {
    put_item_int8(&load.coupon_id, coupon_id);
    put_item_int8(&load.user_id, user_id);
    put_item_int8(&load.ticket, ticket);
    if (load.mode != ACCEPT)
        return;
    char request_id[48];
    int len = snprintf(request_id, sizeof request_id, "b-%" PRId64 "-%" PRId64, coupon_id, user_id);
    put_item(&load.request_id, request_id, (size_t)len);
}

static void fill(int64_t begin, int64_t n) {
    struct param *const columns[] = {&load.coupon_id, &load.user_id, &load.ticket, &load.request_id};
    bool touched[COUPONS_MAX] = {false};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        param_restart(columns[i], (size_t)n);
    for (int l = 0; l < LANES; l++) {
        param_restart(&load.lanes[l].rows, 0);
        load.lanes[l].n_cuts = 0;
    }
    memcpy(load.before, load.given, sizeof load.before);
    for (int64_t i = begin; i < begin + n; i++) {
        int64_t coupon = i % load.coupons, coupon_id = FIRST_COUPON + coupon;
        int64_t ticket = ++load.given[coupon];
        if (load.mode != ISSUE)
            fill_row(coupon_id, 1 + i / load.coupons, ticket);
        add_event(coupon, coupon_id, ticket);
        touched[coupon] = true;
    }
    param_restart(&load.now, 0);
    put64(&load.now, clock_wall_us() - PG_EPOCH_US);
    load.next_offset += n;
    param_restart(&load.offset, 0);
    put64(&load.offset, load.next_offset);
    fill_counts(touched);
    fill_outbox();
}

/* --- the statements --- */

#define INSERT_OUTBOX(table)                                                                                           \
    "insert into " table " (lane, id, first_id, append_time, events)"                                                  \
    " select i.lane, i.id, i.first_id, $5, i.events"                                                                   \
    " from unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bytea[]) i(lane, id, first_id, events)"

static const struct statement ledger = {
    "ledger",
    "insert into publish_request (coupon_id, user_id, ticket, request_id, accept_time)"
    " select i.*, $5 from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) i",
    5,
    {&load.coupon_id, &load.user_id, &load.ticket, &load.request_id, &load.now}};
static const struct statement requested = {"requested",
                                           INSERT_OUTBOX("outbox_requested_0"),
                                           5,
                                           {&load.lane, &load.id, &load.first_id, &load.events, &load.now}};
static const struct statement accepted = {
    "accepted",
    "update admission a set accepted = i.accepted from unnest($1::bigint[], $2::bigint[]) i(coupon_id, accepted)"
    " where a.coupon_id = i.coupon_id",
    2,
    {&load.counted_id, &load.counted}};
static const struct statement offset = {
    "offset",
    "update consumer_offset set next_offset = $3 where topic = $1 and partition = $2",
    3,
    {&load.topic, &load.partition, &load.offset}};
static const struct statement ranges = {"ranges",
                                        "insert into issued (coupon_id, first_ticket, last_ticket, issue_time)"
                                        " select i.*, $4 from unnest($1::bigint[], $2::bigint[], $3::bigint[]) i",
                                        4,
                                        {&load.counted_id, &load.first_ticket, &load.counted, &load.now}};
static const struct statement rows = {"rows",
                                      "insert into user_coupon_rows (coupon_id, user_id, ticket, issue_time)"
                                      " select i.*, $4 from unnest($1::bigint[], $2::bigint[], $3::bigint[]) i",
                                      4,
                                      {&load.coupon_id, &load.user_id, &load.ticket, &load.now}};
static const struct statement published = {"published",
                                           INSERT_OUTBOX("outbox_published_0"),
                                           5,
                                           {&load.lane, &load.id, &load.first_id, &load.events, &load.now}};
static const struct statement issued = {
    "issued",
    "update issuance s set issued = i.issued, highest = i.issued"
    " from unnest($1::bigint[], $2::bigint[]) i(coupon_id, issued) where s.coupon_id = i.coupon_id",
    2,
    {&load.counted_id, &load.counted}};

static const struct {
    const char *name;
    const struct statement *statements[BARE_STATEMENTS + 1];
} modes[] = {[ACCEPT] = {"accept", {&ledger, &requested, &accepted}},
             [ISSUE] = {"issue", {&offset, &ranges, &published, &issued}},
             [ISSUE_BY_ROW] = {"issue_by_row", {&offset, &rows, &published, &issued}}};

/* --- the program --- */

static void load_init(void) {
    static const char topic[] = "outside.coupon.publish.requested.v1";
    size_t batch = (size_t)load.batch;
    param_init(&load.coupon_id, OID_INT8_ARRAY, 20 + batch * 12);
    param_init(&load.user_id, OID_INT8_ARRAY, 20 + batch * 12);
    param_init(&load.ticket, OID_INT8_ARRAY, 20 + batch * 12);
    param_init(&load.request_id, OID_TEXT_ARRAY, 20 + batch * 52);
    param_init(&load.now, OID_TIMESTAMPTZ, 8);
    param_init(&load.counted_id, OID_INT8_ARRAY, 20 + COUPONS_MAX * 12);
    param_init(&load.counted, OID_INT8_ARRAY, 20 + COUPONS_MAX * 12);
    param_init(&load.first_ticket, OID_INT8_ARRAY, 20 + COUPONS_MAX * 12);
    param_init(&load.lane, OID_INT4_ARRAY, 20 + batch * 8);
    param_init(&load.id, OID_INT8_ARRAY, 20 + batch * 12);
    param_init(&load.first_id, OID_INT8_ARRAY, 20 + batch * 12);
    param_init(&load.events, OID_BYTEA_ARRAY, 20 + batch * (4 + EVENT_HEAD + PAYLOAD));
    param_init(&load.topic, OID_TEXT, sizeof topic);
    param_init(&load.partition, OID_INT4, 4);
    param_init(&load.offset, OID_INT8, 8);
    put_bytes(&load.topic, topic, sizeof topic - 1);
    put32(&load.partition, 0);
    for (int l = 0; l < LANES; l++) {
        param_init(&load.lanes[l].rows, OID_BYTEA, LANE_ROOM);
        load.lanes[l].cuts = memory_new(batch, sizeof *load.lanes[l].cuts);
    }
    for (int64_t c = 0; c < load.coupons; c++)
        load.lane_of[c] = murmur2_slot_of_id(FIRST_COUPON + c, LANES);
}

/* Inserts the rows that the timed transactions update or refer to. */
static void make_coupons(void) {
    char sql[900];
    snprintf(sql, sizeof sql,
             "insert into coupon (id, name, quantity, status, discount_rate, create_time)"
             " select %" PRId64 " + c, 'bare', %" PRId64 ", 1, 0, clock_timestamp() from generate_series(0, %" PRId64
             ") c;"
             "insert into admission (coupon_id, quantity) select id, quantity from coupon;"
             "insert into issuance (coupon_id, quantity) select id, quantity from coupon;"
             "insert into consumer_offset (topic, partition, next_offset)"
             " values ('outside.coupon.publish.requested.v1', 0, 0) on conflict do nothing",
             FIRST_COUPON, load.rows, load.coupons - 1);
    bare_run(sql);
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / US_PER_S;
}

static int usage(const char *program) {
    fprintf(stderr, "usage: %s accept|issue|issue_by_row POSTGRES_URL [--rows N] [--coupons K] [--batch N]\n", program);
    return 2;
}

/* Returns false if the value is not allowed. */
static bool read_number(const char *text, int64_t max, int64_t *ret) {
    char *end;
    int64_t number = strtoll(text, &end, 10);
    if (*end || number < 1 || number > max)
        return false;
    *ret = number;
    return true;
}

static bool read_mode(const char *name) {
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(name, modes[i].name) == 0) {
            load.mode = (enum mode)i;
            return true;
        }
    return false;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"rows", required_argument, NULL, 'r'},
        {"coupons", required_argument, NULL, 'c'},
        {"batch", required_argument, NULL, 'b'},
        {0},
    };
    bool ok = true;
    for (int option; ok && (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        ok = (option == 'r' && read_number(optarg, INT32_MAX, &load.rows)) ||
             (option == 'c' && read_number(optarg, COUPONS_MAX, &load.coupons)) ||
             (option == 'b' && read_number(optarg, BATCH_MAX, &load.batch));
    if (!ok || argc != optind + 2 || !read_mode(argv[optind]))
        return usage(argv[0]);

    const struct statement *const *statements = modes[load.mode].statements;
    bare_connect(argv[optind + 1]);
    load_init();
    make_coupons();
    bare_prepare(statements);
    double cpu = cpu_seconds();
    int64_t begin_us = clock_mono_us();
    for (int64_t done = 0; done < load.rows; done += load.batch) {
        fill(done, done + load.batch > load.rows ? load.rows - done : load.batch);
        bare_write(statements);
    }
    double seconds = (double)(clock_mono_us() - begin_us) / US_PER_S;
    printf("{\"rows\":%" PRId64 ",\"seconds\":%.6f,\"per_s\":%.0f,\"cpu_s\":%.3f}\n", load.rows, seconds,
           (double)load.rows / seconds, cpu_seconds() - cpu);
    bare_disconnect();
    return 0;
}

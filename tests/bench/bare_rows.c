/* What Postgres could do for couponsd at best: the rows of accepting, or of issuing, written by nothing but libpq.
 *
 *   bench_bare_rows accept|issue POSTGRES_URL [--rows N] [--coupons K] [--batch N]
 *
 * The first schema of the search path is one that couponsd has made and nobody uses. The coupons are made first; what
 * is timed then are the transactions, `--batch` rows each, one after the other on one connection: a round trip in
 * pipeline mode, prepared statements, binary arrays. Nothing is read and nothing locked. Row i is of coupon i % K.
 * Prints JSON. */
#include <endian.h>
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/murmur2.h"

/* Oids of built-in types; they never change. */
enum {
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_BYTEA_ARRAY = 1001,
    OID_INT4_ARRAY = 1007,
    OID_TEXT_ARRAY = 1009,
    OID_INT8_ARRAY = 1016,
    OID_TIMESTAMPTZ = 1184,
};

#define PG_EPOCH_US  INT64_C(946684800000000) /* Postgres counts from 2000-01-01 */
#define ROWS         200000
#define BATCH        1000
#define BATCH_MAX    10000
#define COUPONS_MAX  1000
#define LANES        8                   /* flow.lanes */
#define FIRST_COUPON INT64_C(1000000001) /* as long as the ids that bench.py takes */
#define EVENT_HEAD   20                  /* coupon, ticket, two lengths */
#define PAYLOAD      60
#define EVENTS_MAX   7900 /* bytes of events in a row of the outbox */
#define LANE_ROOM    (BATCH_MAX * (EVENT_HEAD + PAYLOAD))
#define PARAMS_MAX   6
#define STATEMENTS   4

/* A value that is sent: an array's, or a single one's. */
struct param {
    Oid type;
    char *data, *at;
};

struct statement {
    const char *name, *sql;
    int n;
    struct param *params[PARAMS_MAX];
};

static PGconn *conn;

/* --- values --- */

static void put16(struct param *param, uint16_t value) {
    value = htobe16(value);
    memcpy(param->at, &value, sizeof value);
    param->at += sizeof value;
}

static void put32(struct param *param, uint32_t value) {
    value = htobe32(value);
    memcpy(param->at, &value, sizeof value);
    param->at += sizeof value;
}

static void put64(struct param *param, int64_t value) {
    uint64_t bits = htobe64((uint64_t)value);
    memcpy(param->at, &bits, sizeof bits);
    param->at += sizeof bits;
}

static void put_bytes(struct param *param, const void *data, size_t len) {
    memcpy(param->at, data, len);
    param->at += len;
}

static void put_item(struct param *param, const void *data, size_t len) {
    put32(param, (uint32_t)len);
    put_bytes(param, data, len);
}

static void put_item_int4(struct param *param, int32_t value) {
    put32(param, 4);
    put32(param, (uint32_t)value);
}

static void put_item_int8(struct param *param, int64_t value) {
    put32(param, 8);
    put64(param, value);
}

static Oid element_of(Oid type) {
    switch (type) {
    case OID_INT4_ARRAY:
        return OID_INT4;
    case OID_INT8_ARRAY:
        return OID_INT8;
    case OID_TEXT_ARRAY:
        return OID_TEXT;
    case OID_BYTEA_ARRAY:
        return OID_BYTEA;
    default:
        return 0;
    }
}

/* Empties it. An array of `n`: the items follow. */
static void restart(struct param *param, size_t n) {
    Oid element = element_of(param->type);
    param->at = param->data;
    if (element) {
        put32(param, n ? 1 : 0); /* dimensions */
        put32(param, 0);         /* no nulls */
        put32(param, element);
        if (n) {
            put32(param, (uint32_t)n);
            put32(param, 1); /* the first index */
        }
    }
}

static void param_init(struct param *param, Oid type, size_t room) {
    param->type = type;
    param->at = param->data = malloc(room);
    if (!param->data)
        abort();
}

/* --- statements --- */

static void fail(const char *what, const char *why) {
    fprintf(stderr, "bench_bare_rows: %s: %s\n", what, why);
    exit(1);
}

static void check(const PGresult *result, ExecStatusType should, const char *what) {
    if (PQresultStatus(result) != should)
        fail(what, result ? PQresultErrorMessage(result) : PQerrorMessage(conn));
}

static void run(const char *sql) {
    PGresult *result = PQexec(conn, sql);
    check(result, PGRES_COMMAND_OK, sql);
    PQclear(result);
}

static void prepare(const char *name, const char *sql, const Oid *types, int n) {
    PGresult *result = PQprepare(conn, name, sql, n, types);
    check(result, PGRES_COMMAND_OK, sql);
    PQclear(result);
}

static void prepare_all(const struct statement *statements) {
    prepare("begin", "begin", NULL, 0);
    prepare("commit", "commit", NULL, 0);
    for (int i = 0; i < STATEMENTS && statements[i].name; i++) {
        Oid types[PARAMS_MAX];
        for (int p = 0; p < statements[i].n; p++)
            types[p] = statements[i].params[p]->type;
        prepare(statements[i].name, statements[i].sql, types, statements[i].n);
    }
}

static void send(const char *name, struct param *const *params, int n) {
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX], binary[PARAMS_MAX];
    for (int i = 0; i < n; i++) {
        values[i] = params[i]->data;
        lengths[i] = (int)(params[i]->at - params[i]->data);
        binary[i] = 1;
    }
    if (!PQsendQueryPrepared(conn, name, n, values, lengths, binary, 1))
        fail(name, PQerrorMessage(conn));
}

static void collect(const char *what, ExecStatusType should) {
    PGresult *result = PQgetResult(conn);
    check(result, should, what);
    PQclear(result);
    if (should != PGRES_PIPELINE_SYNC)
        PQclear(PQgetResult(conn)); /* NULL, which ends a statement's results */
}

/* One transaction, in one round trip. */
static void write_batch(const struct statement *statements) {
    int n = 0;
    send("begin", NULL, 0);
    for (; n < STATEMENTS && statements[n].name; n++)
        send(statements[n].name, statements[n].params, statements[n].n);
    send("commit", NULL, 0);
    if (!PQpipelineSync(conn))
        fail("sync", PQerrorMessage(conn));
    for (int i = 0; i < n + 2; i++)
        collect(i == 0 ? "begin" : i <= n ? statements[i - 1].name : "commit", PGRES_COMMAND_OK);
    collect("sync", PGRES_PIPELINE_SYNC);
}

/* --- what is written --- */

enum mode { ACCEPT, ISSUE };

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
    int64_t given[COUPONS_MAX]; /* tickets */
    struct outbox_lane lanes[LANES];
    int64_t next_offset;
    struct param coupon_id, user_id, ticket, request_id, now;
    struct param counted_id, counted;
    struct param lane, id, first_id, events;
    struct param topic, partition, offset;
} load = {.rows = ROWS, .coupons = 1, .batch = BATCH};

static void add_event(int64_t coupon, int64_t coupon_id, int64_t ticket) {
    static const char payload[PAYLOAD + 1] = "about as many bytes as an event has when protobuf encodes it";
    struct outbox_lane *lane = &load.lanes[load.lane_of[coupon]];
    struct cut *cut = lane->n_cuts ? &lane->cuts[lane->n_cuts - 1] : NULL;
    size_t at = (size_t)(lane->rows.at - lane->rows.data);
    lane->last_id++;
    if (!cut || at + EVENT_HEAD + PAYLOAD - cut->begin > EVENTS_MAX) {
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
    restart(&load.lane, n);
    restart(&load.id, n);
    restart(&load.first_id, n);
    restart(&load.events, n);
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
    restart(&load.counted_id, n);
    restart(&load.counted, n);
    for (int64_t c = 0; c < load.coupons; c++)
        if (touched[c]) {
            put_item_int8(&load.counted_id, FIRST_COUPON + c);
            put_item_int8(&load.counted, load.given[c]);
        }
}

static void fill(int64_t begin, int64_t n) {
    struct param *const columns[] = {&load.coupon_id, &load.user_id, &load.ticket, &load.request_id};
    bool touched[COUPONS_MAX] = {false};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        restart(columns[i], (size_t)n);
    for (int l = 0; l < LANES; l++) {
        restart(&load.lanes[l].rows, 0);
        load.lanes[l].n_cuts = 0;
    }
    for (int64_t i = begin; i < begin + n; i++) {
        int64_t coupon = i % load.coupons, coupon_id = FIRST_COUPON + coupon, user_id = 1 + i / load.coupons;
        int64_t ticket = ++load.given[coupon];
        char request_id[48];
        int len = snprintf(request_id, sizeof request_id, "b-%" PRId64 "-%" PRId64, coupon_id, user_id);
        put_item_int8(&load.coupon_id, coupon_id);
        put_item_int8(&load.user_id, user_id);
        put_item_int8(&load.ticket, ticket);
        put_item(&load.request_id, request_id, (size_t)len);
        add_event(coupon, coupon_id, ticket);
        touched[coupon] = true;
    }
    restart(&load.now, 0);
    put64(&load.now, clock_wall_us() - PG_EPOCH_US);
    load.next_offset += n;
    restart(&load.offset, 0);
    put64(&load.offset, load.next_offset);
    fill_counts(touched);
    fill_outbox();
}

/* --- the program --- */

#define INSERT_OUTBOX(table)                                                                                           \
    "insert into " table " (lane, id, first_id, append_time, events)"                                                  \
    " select i.lane, i.id, i.first_id, $5, i.events"                                                                   \
    " from unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bytea[]) i(lane, id, first_id, events)"

static const struct statement accepting[STATEMENTS] = {
    {"ledger",
     "insert into publish_request (coupon_id, user_id, ticket, request_id, accept_time)"
     " select i.*, $5 from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) i",
     5,
     {&load.coupon_id, &load.user_id, &load.ticket, &load.request_id, &load.now}},
    {"outbox", INSERT_OUTBOX("outbox_requested_0"), 5, {&load.lane, &load.id, &load.first_id, &load.events, &load.now}},
    {"counter",
     "update admission a set accepted = i.accepted from unnest($1::bigint[], $2::bigint[]) i(coupon_id, accepted)"
     " where a.coupon_id = i.coupon_id",
     2,
     {&load.counted_id, &load.counted}},
};

static const struct statement issuing[STATEMENTS] = {
    {"offset",
     "update consumer_offset set next_offset = $3 where topic = $1 and partition = $2",
     3,
     {&load.topic, &load.partition, &load.offset}},
    {"coupons",
     "insert into user_coupon (coupon_id, user_id, ticket, issue_time)"
     " select i.*, $4 from unnest($1::bigint[], $2::bigint[], $3::bigint[]) i",
     4,
     {&load.coupon_id, &load.user_id, &load.ticket, &load.now}},
    {"outbox", INSERT_OUTBOX("outbox_published_0"), 5, {&load.lane, &load.id, &load.first_id, &load.events, &load.now}},
    {"counter",
     "update issuance s set issued = i.issued, highest = i.issued"
     " from unnest($1::bigint[], $2::bigint[]) i(coupon_id, issued) where s.coupon_id = i.coupon_id",
     2,
     {&load.counted_id, &load.counted}},
};

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
        load.lanes[l].cuts = calloc(batch, sizeof *load.lanes[l].cuts);
        if (!load.lanes[l].cuts)
            abort();
    }
    for (int64_t c = 0; c < load.coupons; c++)
        load.lane_of[c] = murmur2_slot_of_id(FIRST_COUPON + c, LANES);
}

static void connect_to(const char *url) {
    conn = PQconnectdb(url);
    if (PQstatus(conn) != CONNECTION_OK)
        fail("connecting", PQerrorMessage(conn));
    /* As couponsd's hot connections have it. */
    run("set synchronous_commit = on; set jit = off; set plan_cache_mode = force_generic_plan; set enable_seqscan = "
        "off;"
        "set enable_hashjoin = off; set enable_mergejoin = off; set enable_bitmapscan = off");
}

/* The rows that are moved, and of which others speak. */
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
    run(sql);
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / US_PER_S;
}

static int usage(const char *program) {
    fprintf(stderr, "usage: %s accept|issue POSTGRES_URL [--rows N] [--coupons K] [--batch N]\n", program);
    return 2;
}

/* False: it is not one that may be. */
static bool read_number(const char *text, int64_t max, int64_t *ret) {
    char *end;
    int64_t number = strtoll(text, &end, 10);
    if (*end || number < 1 || number > max)
        return false;
    *ret = number;
    return true;
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
    if (!ok || argc != optind + 2)
        return usage(argv[0]);
    if (strcmp(argv[optind], "accept") == 0)
        load.mode = ACCEPT;
    else if (strcmp(argv[optind], "issue") == 0)
        load.mode = ISSUE;
    else
        return usage(argv[0]);

    const struct statement *statements = load.mode == ACCEPT ? accepting : issuing;
    connect_to(argv[optind + 1]);
    load_init();
    make_coupons();
    prepare_all(statements);
    if (!PQenterPipelineMode(conn))
        fail("pipeline", PQerrorMessage(conn));
    double cpu = cpu_seconds();
    int64_t begin_us = clock_mono_us();
    for (int64_t done = 0; done < load.rows; done += load.batch) {
        fill(done, done + load.batch > load.rows ? load.rows - done : load.batch);
        write_batch(statements);
    }
    double seconds = (double)(clock_mono_us() - begin_us) / US_PER_S;
    printf("{\"rows\":%" PRId64 ",\"seconds\":%.6f,\"per_s\":%.0f,\"cpu_s\":%.3f}\n", load.rows, seconds,
           (double)load.rows / seconds, cpu_seconds() - cpu);
    PQfinish(conn);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The records; see records.h. `lock` guards the queue of reads and what the thread has read last. The thread owns `pg`
 * and `arena`. */
#include "console/records.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ints.h"
#include "base/memory.h"
#include "base/thread.h"
#include "console/answer.h"
#include "console/json.h"
#include "console/params.h"
#include "flow/stage.h"
#include "store/coupon_rows.h"
#include "store/coupons.h"
#include "store/lookup.h"

#define INTERVAL_US   US_PER_S
#define TELL_US       (5 * US_PER_S)
#define LATEST_US     (3 * US_PER_S)
#define SILENCE_US    (3 * US_PER_S) /* how long Postgres may be silent */
#define READS_MAX     12             /* more would keep probes from connecting (http/http.c) */
#define INSTANCES_MAX 100

enum read_kind { READ_COUPONS, READ_TICKETS };
struct read {
    enum read_kind kind;
    struct http_request *request;
    int64_t coupon_id, after, limit;
    bool newest;
};

struct records {
    struct records_options options;
    struct pg *pg;
    struct arena arena;
    int64_t told_us;      /* by clock_mono_us: the last time */
    struct outage outage; /* keeps the log from repeating itself */

    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool is_stopping;
    struct read reads[READS_MAX];
    size_t n_reads;
    int64_t followed[CAMPAIGNS_MAX];
    size_t n_followed;
    struct record latest[CAMPAIGNS_MAX];
    size_t n_latest;
    int64_t latest_us; /* by clock_mono_us */
};

/* --- JSON --- */

static void add_coupon(struct strbuf *json, const struct coupon_detail *detail, int64_t now_us) {
    static const char *const states[] = {
        [REFUSAL_NONE] = "OPEN",         [REFUSAL_COUPON_NOT_FOUND] = "UNKNOWN",
        [REFUSAL_SOLD_OUT] = "SOLD_OUT", [REFUSAL_NOT_OPEN] = "NOT_OPEN",
        [REFUSAL_PAUSED] = "PAUSED",     [REFUSAL_CLOSED] = "CLOSED",
        [REFUSAL_EXPIRED] = "EXPIRED",
    };
    const struct coupon *row = &detail->row;
    json_open(json, NULL, '{');
    json_id(json, "id", row->id);
    json_text(json, "name", detail->name);
    json_text(json, "state", row->frozen ? "FROZEN" : states[coupon_refusal(row, now_us)]);
    json_int(json, "quantity", row->quantity);
    json_int(json, "accepted", row->accepted);
    json_int(json, "issued", row->issued);
    json_int(json, "rejected", row->rejected);
    json_number(json, "discount_rate", detail->discount_rate);
    if (row->open_us != TIME_OPEN_START)
        json_time(json, "open_time", row->open_us);
    if (row->expire_us != TIME_OPEN_END)
        json_time(json, "expire_time", row->expire_us);
    json_time(json, "create_time", detail->create_us);
    json_close(json, '}');
}

static bool add_coupons(struct records *records, struct strbuf *json, int64_t before, int64_t limit, struct err *err) {
    struct coupon_page page = {.after = before,
                               .room = (size_t)limit,
                               .coupons = ARENA_ARRAY(&records->arena, struct coupon_detail, RECORDS_PAGE)};
    int64_t now_us;
    if (!coupon_list_newest(records->pg, &records->arena, &page, err) || !coupon_now(records->pg, &now_us, err))
        return false;
    json_open(json, "coupons", '[');
    for (size_t i = 0; i < page.n; i++)
        add_coupon(json, &page.coupons[i], now_us);
    json_close(json, ']');
    json_bool(json, "more", page.n == page.room);
    json_time(json, "now", now_us);
    return true;
}

static const char *state_of(const struct request_status *status) {
    return status->issue_us != NOT_ISSUED ? "ISSUED" : status->reject_reason != REJECT_NONE ? "REJECTED" : "ACCEPTED";
}

static bool add_tickets(struct records *records, struct strbuf *json, const struct read *read, struct err *err) {
    struct ticket_page page = {.coupon_id = read->coupon_id,
                               .after = read->after,
                               .newest = read->newest,
                               .room = RECORDS_PAGE,
                               .statuses = ARENA_ARRAY(&records->arena, struct request_status, RECORDS_PAGE)};
    if (!lookup_tickets(records->pg, &records->arena, &page, err))
        return false;
    json_open(json, "tickets", '[');
    for (size_t i = 0; i < page.n; i++) {
        const struct request_status *status = &page.statuses[i];
        json_open(json, NULL, '{');
        json_id(json, "ticket", status->ticket);
        json_id(json, "user_id", status->user_id);
        json_text(json, "state", state_of(status));
        json_time(json, "accept_time", status->accept_us);
        if (status->issue_us != NOT_ISSUED)
            json_time(json, "issue_time", status->issue_us);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_bool(json, "more", page.n == RECORDS_PAGE);
    return true;
}

static bool add_instances(struct records *records, struct strbuf *json, struct err *err) {
    struct instance_page page = {.room = INSTANCES_MAX,
                                 .instances = ARENA_ARRAY(&records->arena, struct instance, INSTANCES_MAX)};
    if (!instances_list(records->pg, &records->arena, &page, err))
        return false;
    json_open(json, "instances", '[');
    for (size_t i = 0; i < page.n; i++) {
        const struct instance *instance = &page.instances[i];
        json_open(json, NULL, '{');
        json_bool(json, "self", strcmp(instance->id, records->options.self.id) == 0);
        json_text(json, "host", instance->host);
        json_text(json, "grpc", instance->grpc_address);
        json_text(json, "http", instance->http_address);
        json_text(json, "version", instance->version);
        json_time(json, "start_time", instance->start_us);
        json_number(json, "seen_s", (double)(page.now_us - instance->seen_us) / US_PER_S);
        json_close(json, '}');
    }
    json_close(json, ']');
    return true;
}

/* --- the thread --- */

static bool connect(struct records *records, struct err *err) {
    pg_give_up_at(records->pg, clock_mono_us() + SILENCE_US);
    return pg_connect(records->pg, err);
}

static void answer(struct records *records, const struct read *read) {
    struct strbuf json = {0};
    struct err err;
    json_open(&json, NULL, '{');
    bool ok = connect(records, &err) &&
              (read->kind == READ_COUPONS ? add_coupons(records, &json, read->after, read->limit, &err)
                                          : add_tickets(records, &json, read, &err));
    json_end(&json);
    if (ok)
        answer_json(read->request, &json);
    else
        answer_error(read->request, RPC_UNAVAILABLE, "BACKEND_UNAVAILABLE", err.text);
    strbuf_deinit(&json);
}

typedef bool part_fn(struct records *records, struct strbuf *json, struct err *err);

static bool add_newest(struct records *records, struct strbuf *json, struct err *err) {
    return add_coupons(records, json, 0, RECORDS_PAGE, err);
}

/* Adds a part, or the member `problem` with the error. */
static void add_part(struct records *records, struct strbuf *json, part_fn *add, const char *problem) {
    struct strbuf part = {0};
    struct err err;
    if (connect(records, &err) && add(records, &part, &err))
        strbuf_add(json, part.data, part.len);
    else
        json_text(json, problem, err.text);
    strbuf_deinit(&part);
}

static void make_overview(struct records *records) {
    struct strbuf json = {0};
    json_open(&json, NULL, '{');
    /* In this order: many coupons are likelier to take too long, which costs the connection. */
    add_part(records, &json, add_instances, "instances_error");
    add_part(records, &json, add_newest, "coupons_error");
    json_text(&json, "version", records->options.self.version);
    json_end(&json);
    feed_set_overview(records->options.feed, &json);
    strbuf_deinit(&json);
}

/* `ids` in ascending order. */
static void read_followed(struct records *records, const int64_t *ids, size_t n) {
    struct coupon *rows = ARENA_ARRAY(&records->arena, struct coupon, n);
    int64_t now_us;
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct coupon){.id = ids[i]};
    if (!connect(records, NULL) || !coupon_rows_load(records->pg, &records->arena, rows, n, &now_us, NULL))
        return;
    pthread_mutex_lock(&records->lock);
    records->n_latest = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i].exists)
            records->latest[records->n_latest++] =
                (struct record){rows[i].id, rows[i].quantity, rows[i].accepted, rows[i].issued};
    records->latest_us = clock_mono_us();
    pthread_mutex_unlock(&records->lock);
}

static void tell(struct records *records) {
    struct err err;
    records->told_us = clock_mono_us();
    if (connect(records, &err) && instances_tell(records->pg, &records->options.self, &err))
        stage_resumed(&records->outage, "console");
    else
        stage_interrupted(&records->outage, "console", &err);
}

static void look_around(struct records *records) {
    int64_t ids[CAMPAIGNS_MAX];
    pthread_mutex_lock(&records->lock);
    size_t n = records->n_followed;
    memcpy(ids, records->followed, n * sizeof *ids);
    pthread_mutex_unlock(&records->lock);
    if (n)
        read_followed(records, ids, n);
    if (clock_mono_us() - records->told_us >= TELL_US)
        tell(records);
    if (feed_viewers(records->options.feed) > 0)
        make_overview(records);
    arena_reset(&records->arena);
}

static void *run(void *arg) {
    struct records *records = arg;
    int64_t next_us = clock_mono_us();
    pthread_mutex_lock(&records->lock);
    while (!records->is_stopping) {
        int64_t now_us = clock_mono_us();
        if (now_us >= next_us) {
            pthread_mutex_unlock(&records->lock);
            look_around(records);
            next_us = clock_mono_us() + INTERVAL_US;
            pthread_mutex_lock(&records->lock);
        } else if (records->n_reads) {
            struct read read = records->reads[0];
            records->n_reads--;
            memmove(&records->reads[0], &records->reads[1], records->n_reads * sizeof read);
            pthread_mutex_unlock(&records->lock);
            answer(records, &read);
            arena_reset(&records->arena);
            pthread_mutex_lock(&records->lock);
        } else {
            struct timespec until = clock_mono_timespec(next_us);
            pthread_cond_timedwait(&records->changed, &records->lock, &until);
        }
    }
    pthread_mutex_unlock(&records->lock);
    if (pg_is_connected(records->pg))
        instances_forget(records->pg, records->options.self.id, NULL);
    return NULL;
}

bool records_start(const struct records_options *options, struct records **ret_records, struct err *err) {
    struct records *records = memory_new(1, sizeof *records);
    records->options = *options;
    records->pg = pg_new(&options->context->cold);
    records->told_us = clock_mono_us() - TELL_US;
    records->latest_us = INT64_MIN / 2;
    arena_init(&records->arena, 64 * 1024);
    pthread_mutex_init(&records->lock, NULL);
    thread_cond_init_monotonic(&records->changed);
    if (!thread_start("console", run, records, &records->thread, err)) {
        records_free(records);
        return false;
    }
    *ret_records = records;
    return true;
}

static void refuse_stopping(struct http_request *request) {
    answer_error(request, RPC_UNAVAILABLE, "STOPPING", "couponsd is stopping");
}

void records_end(struct records *records) {
    pthread_mutex_lock(&records->lock);
    records->is_stopping = true;
    for (size_t i = 0; i < records->n_reads; i++)
        refuse_stopping(records->reads[i].request);
    records->n_reads = 0;
    pthread_cond_signal(&records->changed);
    pthread_mutex_unlock(&records->lock);
}

void records_join(struct records *records) {
    if (records)
        pthread_join(records->thread, NULL);
}

void records_free(struct records *records) {
    if (!records)
        return;
    pg_free(records->pg);
    arena_deinit(&records->arena);
    pthread_cond_destroy(&records->changed);
    pthread_mutex_destroy(&records->lock);
    free(records);
}

/* --- for other threads --- */

void records_follow(struct records *records, const struct campaign_counts *campaigns, size_t n) {
    pthread_mutex_lock(&records->lock);
    for (size_t i = 0; i < n; i++)
        records->followed[i] = campaigns[i].coupon_id;
    qsort(records->followed, n, sizeof records->followed[0], compare_int64);
    records->n_followed = n;
    pthread_mutex_unlock(&records->lock);
}

size_t records_latest(struct records *records, struct record ret[static CAMPAIGNS_MAX]) {
    pthread_mutex_lock(&records->lock);
    size_t n = clock_mono_us() - records->latest_us <= LATEST_US ? records->n_latest : 0;
    memcpy(ret, records->latest, n * sizeof *ret);
    pthread_mutex_unlock(&records->lock);
    return n;
}

static void give(struct records *records, const struct read *read) {
    pthread_mutex_lock(&records->lock);
    bool is_room = records->n_reads < READS_MAX, is_stopping = records->is_stopping;
    if (is_room && !is_stopping) {
        http_request_defer(read->request);
        records->reads[records->n_reads++] = *read;
        pthread_cond_signal(&records->changed);
    }
    pthread_mutex_unlock(&records->lock);
    if (is_stopping)
        refuse_stopping(read->request);
    else if (!is_room)
        answer_error(read->request, RPC_RESOURCE_EXHAUSTED, "OVERLOADED",
                     "too many people read in the console; try again");
}

static void refuse_bad(struct http_request *request, const char *text) {
    answer_error(request, RPC_INVALID_ARGUMENT, "INVALID_FIELD", text);
}

/* An absent parameter is 0. */
static bool read_int(const struct http_request *request, const char *name, int64_t *ret) {
    const char *text = http_request_query(request, name);
    *ret = 0;
    return !text || params_int(text, ret);
}

void records_give_coupons(struct records *records, struct http_request *request) {
    struct read read = {.kind = READ_COUPONS, .request = request};
    int64_t upto;
    if (!read_int(request, "before", &read.after) || !read_int(request, "upto", &upto) ||
        !read_int(request, "limit", &read.limit) || read.limit > RECORDS_PAGE) {
        refuse_bad(request, "before and upto must be a coupon's id, and limit a number up to 100");
        return;
    }
    if (upto > 0 && upto < INT64_MAX)
        read.after = upto + 1;
    read.limit = read.limit ? read.limit : RECORDS_PAGE;
    give(records, &read);
}

void records_give_tickets(struct records *records, struct http_request *request) {
    const char *newest = http_request_query(request, "newest");
    struct read read = {.kind = READ_TICKETS, .request = request, .newest = newest && strcmp(newest, "true") == 0};
    if (!read_int(request, "coupon_id", &read.coupon_id) || read.coupon_id == 0)
        refuse_bad(request, "coupon_id must be a coupon's id");
    else if (!read_int(request, "after", &read.after))
        refuse_bad(request, "after must be a ticket");
    else
        give(records, &read);
}

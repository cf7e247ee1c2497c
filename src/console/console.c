/* SPDX-License-Identifier: Apache-2.0 */
/* The console's paths, its sampler, and its start and stop; see console.h. The ticker's thread owns what is sampled. */
#include "console/console.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/ticker.h"
#include "console/answer.h"
#include "console/calls.h"
#include "console/feed.h"
#include "console/json.h"
#include "console/records.h"
#include "console/scrape.h"
#include "console/web.h"
#include "flow/backends.h"
#include "flow/campaigns.h"
#include "model/reason.h"

#define PREFIX          "/console/"
#define API             "/console/api/"
#define SAMPLE_US       US_PER_S
#define CAMPAIGNS_SHOWN 64
#define ADMIN_SERVICE   "coupon.v1.CouponAdminService"
#define READING         "GetCoupon" /* whoever may call it may look at everything */
#define CHANGING        "PauseCoupon"
#define AUTHORIZATION   "authorization"
#define BEARER_MAX      4103 /* bytes of the header authorization; api/access.c takes no longer tokens */
/* A backend that has failed this long ago may be back: its stage has had nothing to do since. */
#define FAILED_LATELY_US (30 * US_PER_S)

struct console {
    struct console_options options;
    char host[256], id[320];
    struct feed *feed;
    struct calls *calls;
    struct records *records;
    struct ticker *ticker;
    struct scrape_answers answers; /* of the last sample */
};

/* --- samples --- */

/* Postgres and Kafka are asked all the time. Of Redis, only the stages know. */
static bool has_failed(const struct console *console, enum backend backend, const struct backend_state *state,
                       char text[static HTTP_READY_SIZE]) {
    bool was_lately = state->n_failed > 0 && clock_mono_us() - state->last_mono_us < FAILED_LATELY_US;
    snprintf(text, HTTP_READY_SIZE, "%.*s", HTTP_READY_SIZE - 1, state->text);
    return backend == BACKEND_REDIS ? was_lately : console->options.has_failed(console->options.arg, backend, text);
}

static void add_backends(const struct console *console, struct strbuf *json) {
    json_open(json, "backends", '[');
    for (enum backend backend = BACKEND_POSTGRES; backend < BACKENDS; backend++) {
        struct backend_state state = backends_read(backend);
        char text[HTTP_READY_SIZE];
        json_open(json, NULL, '{');
        json_text(json, "name", backend_name(backend));
        json_bool(json, "failed", has_failed(console, backend, &state, text));
        json_text(json, "text", text);
        if (state.last_us) {
            json_time(json, "last_time", state.last_us);
            json_text(json, "stage", state.stage);
        }
        json_close(json, '}');
    }
    json_close(json, ']');
}

static int compare_campaigns(const void *a, const void *b) {
    const struct campaign_counts *left = a, *right = b;
    return (left->last_us < right->last_us) - (left->last_us > right->last_us);
}

static const struct record *record_of(const struct record *records, size_t n, int64_t coupon_id) {
    for (size_t i = 0; i < n; i++)
        if (records[i].coupon_id == coupon_id)
            return &records[i];
    return NULL;
}

static void add_campaign(struct strbuf *json, const struct campaign_counts *counts, const struct record *record) {
    json_open(json, NULL, '{');
    json_id(json, "id", counts->coupon_id);
    json_open(json, "answers", '{');
    for (int reason = REASON_NONE; reason < REASONS; reason++)
        if (counts->answers[reason])
            json_int(json, reason == REASON_NONE ? "OK" : reason_info((enum reason)reason)->name,
                     counts->answers[reason]);
    json_close(json, '}');
    if (record) {
        json_int(json, "quantity", record->quantity);
        json_int(json, "accepted", record->accepted);
        json_int(json, "issued", record->issued);
    }
    json_close(json, '}');
}

/* The campaigns that calls came for last. */
static void add_campaigns(struct console *console, struct strbuf *json) {
    struct campaign_counts counts[CAMPAIGNS_MAX];
    struct record latest[CAMPAIGNS_MAX];
    size_t n = campaigns_read(counts), n_latest = records_latest(console->records, latest);
    qsort(counts, n, sizeof *counts, compare_campaigns);
    n = n < CAMPAIGNS_SHOWN ? n : CAMPAIGNS_SHOWN;
    records_follow(console->records, counts, n);
    json_open(json, "campaigns", '[');
    for (size_t i = 0; i < n; i++)
        add_campaign(json, &counts[i], record_of(latest, n_latest, counts[i].coupon_id));
    json_close(json, ']');
}

static void add_quantile(struct strbuf *json, const char *name, const struct scrape_answers *before,
                         const struct scrape_answers *now, double quantile) {
    double ms = scrape_quantile_ms(before, now, quantile);
    if (ms >= 0)
        json_number(json, name, ms);
}

static bool may_look(void *arg, const char *authorization) {
    const struct console *console = arg;
    return access_judge(console->options.access, authorization, ADMIN_SERVICE, READING) == ACCESS_ALLOWED;
}

static void sample(void *arg) {
    struct console *console = arg;
    char ready[HTTP_READY_SIZE] = "";
    struct strbuf json = {0};
    struct scrape_answers answers;
    calls_mend(console->calls);
    bool is_ready = console->options.is_ready(console->options.arg, ready);
    json_open(&json, NULL, '{');
    json_int(&json, "t", clock_wall_us() / US_PER_MS);
    json_bool(&json, "ready", is_ready);
    json_text(&json, "ready_text", ready);
    scrape(&json, &answers);
    add_quantile(&json, "p50_ms", &console->answers, &answers, 0.5);
    add_quantile(&json, "p99_ms", &console->answers, &answers, 0.99);
    add_backends(console, &json);
    add_campaigns(console, &json);
    json_end(&json);
    feed_check(console->feed, may_look, console); /* tokens may have been taken away */
    feed_add_sample(console->feed, &json);
    strbuf_deinit(&json);
    console->answers = answers;
}

/* --- start and stop --- */

bool console_start(const struct console_options *options, struct console **ret_console, struct err *err) {
    struct console *console = memory_new(1, sizeof *console);
    console->options = *options;
    gethostname(console->host, sizeof console->host - 1);
    snprintf(console->id, sizeof console->id, "%s/%d/%lld", console->host, (int)getpid(), (long long)clock_wall_us());
    console->feed = feed_new();
    campaigns_start();
    const struct records_options records = {
        .context = options->context,
        .feed = console->feed,
        .self = {.id = console->id,
                 .host = console->host,
                 .grpc_address = options->grpc_address,
                 .http_address = options->http_address,
                 .version = COUPONSD_VERSION},
    };
    if (!calls_new(options->rpc, &console->calls, err) || !records_start(&records, &console->records, err) ||
        !ticker_start("sampler", SAMPLE_US, sample, console, &console->ticker, err)) {
        console_stop(console);
        console_join(console);
        console_free(console);
        return false;
    }
    *ret_console = console;
    return true;
}

void console_stop(struct console *console) {
    if (!console)
        return;
    ticker_stop(console->ticker); /* it uses all that follow */
    console->ticker = NULL;
    if (console->records)
        records_end(console->records);
    feed_end(console->feed);
    if (console->calls)
        calls_end(console->calls);
}

void console_join(struct console *console) {
    if (console)
        records_join(console->records);
}

void console_free(struct console *console) {
    if (!console)
        return;
    calls_free(console->calls);
    records_free(console->records);
    feed_free(console->feed);
    free(console);
}

/* --- who may --- */

static bool is_port_or_nothing(const char *text) {
    return *text == '\0' || (*text == ':' && text[1 + strspn(text + 1, "0123456789")] == '\0');
}

/* Whether the name and port of a Host header stand for loopback. */
static bool is_loopback_name(const char *host) {
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; host && i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(host, names[i], len) == 0 && is_port_or_nothing(host + len))
            return true;
    }
    return false;
}

/* Whether the header can be passed on: gRPC would end the connection that all calls share if it was too long. */
static bool is_fit(const struct console *console, const char *authorization) {
    size_t len = authorization ? strlen(authorization) : 0;
    for (size_t i = 0; i < len; i++)
        if (authorization[i] < ' ' || authorization[i] > '~')
            return false;
    return len <= BEARER_MAX && (int64_t)len <= console->options.context->config->grpc_max_metadata_bytes / 2;
}

static bool refuse_place(struct http_request *request) {
    const char *site = http_request_header(request, "Sec-Fetch-Site");
    if (!http_request_has_tls(request) && !http_request_is_from_loopback(request)) {
        answer_error(
            request, RPC_PERMISSION_DENIED, "PERMISSION",
            "the console is served over TLS, or to this machine alone: set http.tls_certificate and http.tls_key");
        return true;
    }
    if (!http_request_has_tls(request) && !is_loopback_name(http_request_header(request, "Host"))) {
        answer_error(request, RPC_PERMISSION_DENIED, "PERMISSION",
                     "without TLS, the console is at http://localhost or http://127.0.0.1; for other names set "
                     "http.tls_certificate and http.tls_key");
        return true;
    }
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0 &&
        strncmp(http_request_path(request), API, sizeof API - 1) == 0) {
        answer_error(request, RPC_PERMISSION_DENIED, "PERMISSION", "another site's page has sent this request");
        return true;
    }
    return false;
}

static enum access_verdict judge(const struct console *console, const struct http_request *request,
                                 const char *method) {
    return access_judge(console->options.access, http_request_header(request, AUTHORIZATION), ADMIN_SERVICE, method);
}

static bool refuse_reader(const struct console *console, struct http_request *request) {
    switch (judge(console, request, READING)) {
    case ACCESS_ALLOWED:
        return false;
    case ACCESS_UNKNOWN_CALLER:
        answer_error(request, RPC_UNAUTHENTICATED, "PERMISSION",
                     http_request_header(request, AUTHORIZATION) ? "the token is unknown" : "a token is needed");
        return true;
    case ACCESS_DENIED:
        break;
    }
    answer_error(request, RPC_PERMISSION_DENIED, "PERMISSION", "the console needs the role observer or admin");
    return true;
}

/* --- paths --- */

static void give_me(const struct console *console, struct http_request *request) {
    bool is_open = access_is_open(console->options.access);
    struct strbuf json = {0};
    json_open(&json, NULL, '{');
    json_bool(&json, "is_open", is_open);
    json_bool(&json, "may_read", judge(console, request, READING) == ACCESS_ALLOWED);
    json_bool(&json, "may_change", !is_open && judge(console, request, CHANGING) == ACCESS_ALLOWED);
    json_end(&json);
    answer_json(request, &json);
    strbuf_deinit(&json);
}

static bool is_post(const struct http_request *request) {
    return strcmp(http_request_method(request), "POST") == 0;
}

static void call(struct console *console, struct http_request *request, const char *name) {
    bool changes = calls_kind_of(name) == CALLS_CHANGE;
    if (calls_kind_of(name) == CALLS_UNKNOWN)
        answer_error(request, RPC_NOT_FOUND, "", "the console has no such method");
    else if (is_post(request) != changes)
        answer_error(request, RPC_INVALID_ARGUMENT, "", changes ? "this method wants POST" : "this method wants GET");
    else if (changes && !http_request_header(request, "X-Couponsd-Console"))
        answer_error(request, RPC_PERMISSION_DENIED, "PERMISSION", "the header X-Couponsd-Console is missing");
    else if (changes && access_is_open(console->options.access))
        answer_error(request, RPC_PERMISSION_DENIED, "PERMISSION",
                     "no token is configured, so nothing can be changed here: set access.tokens, or use couponctl");
    else
        calls_make(console->calls, request, name);
}

static void handle_api(struct console *console, struct http_request *request, const char *name) {
    static const char calling[] = "call/";
    bool is_call = strncmp(name, calling, sizeof calling - 1) == 0, is_stream = strcmp(name, "stream") == 0;
    bool is_head = strcmp(http_request_method(request), "HEAD") == 0;
    if (!is_fit(console, http_request_header(request, AUTHORIZATION)))
        answer_error(request, RPC_UNAUTHENTICATED, "PERMISSION", "the token is too long, or is no token");
    else if (access_is_open(console->options.access) && !http_request_is_from_loopback(request))
        answer_error(request, RPC_PERMISSION_DENIED, "PERMISSION",
                     "no token is configured, so the console shows nothing to other machines: set access.tokens");
    else if (is_call)
        call(console, request, name + sizeof calling - 1);
    else if (is_post(request) || (is_stream && is_head))
        answer_error(request, RPC_INVALID_ARGUMENT, "", "this path wants GET");
    else if (strcmp(name, "me") == 0)
        give_me(console, request);
    else if (refuse_reader(console, request))
        return;
    else if (strcmp(name, "coupons") == 0)
        records_give_coupons(console->records, request);
    else if (strcmp(name, "tickets") == 0)
        records_give_tickets(console->records, request);
    else if (!is_stream)
        answer_error(request, RPC_NOT_FOUND, "", "there is no such path");
    else if (!feed_join(console->feed, request, http_request_header(request, AUTHORIZATION)))
        answer_error(request, RPC_RESOURCE_EXHAUSTED, "OVERLOADED",
                     "too many people look at the console, or couponsd is stopping; try again later");
}

static bool give_file(struct http_request *request, const char *name) {
    for (size_t i = 0; i < n_web_files; i++)
        if (strcmp(web_files[i].name, name) == 0) {
            http_respond(request, &(struct http_response){.status = 200,
                                                          .content_type = web_files[i].content_type,
                                                          .body = (const char *)web_files[i].bytes,
                                                          .len = web_files[i].len,
                                                          .is_static = true,
                                                          .headers = answer_headers,
                                                          .n_headers = n_answer_headers});
            return true;
        }
    return false;
}

static void redirect(struct http_request *request) {
    const struct http_header location = {"Location", PREFIX};
    http_respond(request, &(struct http_response){.status = 302,
                                                  .content_type = "text/plain; charset=utf-8",
                                                  .body = "see " PREFIX "\n",
                                                  .len = sizeof "see " PREFIX "\n" - 1,
                                                  .is_static = true,
                                                  .headers = &location,
                                                  .n_headers = 1});
}

bool console_handle(struct console *console, struct http_request *request) {
    const char *path = http_request_path(request), *method = http_request_method(request);
    bool is_get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (!is_get && !is_post(request))
        return false;
    if (is_get && (strcmp(path, "/") == 0 || strcmp(path, "/console") == 0)) {
        redirect(request);
        return true;
    }
    if (strncmp(path, PREFIX, sizeof PREFIX - 1) != 0)
        return false;
    if (refuse_place(request))
        return true;
    if (strncmp(path, API, sizeof API - 1) != 0)
        return is_get && give_file(request, path + sizeof PREFIX - 1);
    if (!console)
        answer_error(request, RPC_UNAVAILABLE, "STOPPING", "couponsd is starting");
    else
        handle_api(console, request, path + sizeof API - 1);
    return true;
}

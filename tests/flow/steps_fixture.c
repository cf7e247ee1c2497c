/* SPDX-License-Identifier: Apache-2.0 */
#include "steps_fixture.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "flow/counters.h"
#include "flow/relay.h"
#include "flow/topics/prepare.h"
#include "model/event.h"
#include "server.h"
#include "store/schema.h"

#define PATIENCE_US (90 * (int64_t)US_PER_S)

static const char *server(const char *name) {
    const char *url = getenv(name);
    cr_assert_not_null(url, "%s is not set: run ./dev test", name);
    return url;
}

static void must(bool ok, const struct err *err) {
    cr_assert(ok, "%s", err->text);
}

static void set(struct fixture *fixture, const char *key, const char *value) {
    char assignment[600];
    struct err err;
    snprintf(assignment, sizeof assignment, "%s=%s", key, value);
    must(config_set(&fixture->config, assignment, &err), &err);
}

void fixture_init(struct fixture *fixture) {
    struct err err;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long long unique = (long long)now.tv_sec * 1000003 + now.tv_nsec + getpid();
    *fixture = (struct fixture){.coupon_id = unique % 1000000000000};
    snprintf(fixture->schema, sizeof fixture->schema, "f%llx", unique);
    snprintf(fixture->prefix, sizeof fixture->prefix, "f%llx.", unique);
    const char *base = server("POSTGRES_URL");
    snprintf(fixture->url, sizeof fixture->url, "%s%coptions=-csearch_path%%3D%s", base, strchr(base, '?') ? '&' : '?',
             fixture->schema);
    config_init(&fixture->config, &server_config_checks);
    fixture->context.config = &fixture->config;
    set(fixture, "postgres.url", fixture->url);
    set(fixture, "redis.url", server("REDIS_URL"));
    set(fixture, "kafka.brokers", server("KAFKA_BROKERS"));
    set(fixture, "kafka.topic_prefix", fixture->prefix);
    fixture->context.hot = (struct pg_options){.url = fixture->url,
                                               .application_name = fixture->schema,
                                               .connect_timeout_s = 5,
                                               .statement_timeout_ms = 30000,
                                               .hot = true};
    fixture->context.cold = fixture->context.hot;
    fixture->context.cold.hot = false;
    fixture->context.redis = (struct redis_options){.url = fixture->config.redis_url, .timeout_ms = 2000};
    fixture->context.kafka = (struct kafka_options){.brokers = fixture->config.kafka_brokers,
                                                    .topic_prefix = fixture->prefix,
                                                    .replication_factor = 1,
                                                    .in_flight_max = 10000};
    arena_init(&fixture->arena, 65536);
    counters_register();
    struct pg_options plain = fixture->context.cold;
    plain.url = base;
    struct pg *admin = pg_new(&plain);
    char sql[64];
    snprintf(sql, sizeof sql, "create schema %s", fixture->schema);
    must(pg_connect(admin, &err) && pg_exec(admin, sql, &err), &err);
    pg_free(admin);
    fixture->pg = pg_new(&fixture->context.hot);
    must(pg_connect(fixture->pg, &err) && schema_migrate(fixture->pg, &err) &&
             schema_fix_lanes(fixture->pg, (int)fixture->config.flow_lanes, &err),
         &err);
    set(fixture, "kafka.partitions", "4");
    must(kafka_admin_new(&fixture->context.kafka, &fixture->context.kafka_admin, &err), &err);
    must(topics_prepare(&fixture->context, &err), &err);
    must(flags_new(&fixture->context.redis, &fixture->flags, &err), &err);
}

void fixture_deinit(struct fixture *fixture) {
    flags_free(fixture->flags);
    kafka_admin_free(fixture->context.kafka_admin);
    pg_free(fixture->pg);
    arena_deinit(&fixture->arena);
    config_deinit(&fixture->config);
}

void fixture_coupon(struct fixture *fixture, int64_t quantity) {
    struct coupon_detail detail = {
        .row = {.id = ++fixture->coupon_id,
                .status = COUPON_PUBLISHABLE,
                .quantity = quantity,
                .open_us = TIME_OPEN_START,
                .expire_us = TIME_OPEN_END},
        .name = "test",
    };
    struct err err = {0};
    cr_assert_eq(coupon_create(fixture->pg, &fixture->arena, (int)fixture->config.flow_lanes, "", &detail, &err),
                 COUPON_OK, "%s", err.text);
}

void fixture_sql(struct fixture *fixture, const char *format, ...) {
    char sql[1000];
    va_list args;
    struct err err;
    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    must(pg_exec(fixture->pg, sql, &err), &err);
}

static int64_t number(struct fixture *fixture, const char *format, va_list args) {
    char sql[1000];
    vsnprintf(sql, sizeof sql, format, args);
    PGconn *conn = PQconnectdb(fixture->url);
    PGresult *result = PQexec(conn, sql);
    cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
    int64_t value = PQntuples(result) ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    PQclear(result);
    PQfinish(conn);
    return value;
}

int64_t fixture_number(struct fixture *fixture, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int64_t value = number(fixture, format, args);
    va_end(args);
    return value;
}

static void breathe(void) {
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

void fixture_wait_for(struct fixture *fixture, int64_t expected, const char *format, ...) {
    int64_t give_up_us = clock_mono_us() + PATIENCE_US, value;
    for (;;) {
        va_list args;
        va_start(args, format);
        value = number(fixture, format, args);
        va_end(args);
        if (value == expected || clock_mono_us() > give_up_us)
            break;
        breathe();
    }
    cr_assert_eq(value, expected, "%lld, not %lld: %s", (long long)value, (long long)expected, format);
}

void fixture_ledger(struct fixture *fixture, int64_t ticket) {
    fixture_sql(fixture,
                "insert into publish_request values (%lld, %lld, %lld, 'r%lld', clock_timestamp());"
                "update admission set accepted = greatest(accepted, %lld) where coupon_id = %lld",
                (long long)fixture->coupon_id, (long long)(1000 + ticket), (long long)ticket, (long long)ticket,
                (long long)ticket, (long long)fixture->coupon_id);
}

struct pg_bytes fixture_event(struct fixture *fixture, enum stream stream, int64_t user_id, int64_t ticket) {
    static const char traceparent[] = FIXTURE_TRACEPARENT;
    uint8_t *bytes = arena_alloc(&fixture->arena, EVENT_MAX);
    const struct event event = {
        .coupon_id = fixture->coupon_id,
        .user_id = user_id,
        .ticket = ticket,
        .request_id = "r",
        .request_id_len = 1,
        .accept_us = clock_wall_us(),
        .issue_us = clock_wall_us(),
        .traceparent = traceparent,
        .traceparent_len = strlen(traceparent),
    };
    return (struct pg_bytes){bytes, event_write(stream, &event, bytes)};
}

void fixture_outbox(struct fixture *fixture, int64_t user_id, int64_t ticket) {
    struct err err;
    const struct outbox_event event = {.coupon_id = fixture->coupon_id,
                                       .ticket = ticket,
                                       .payload = fixture_event(fixture, STREAM_REQUESTED, user_id, ticket)};
    const struct outbox_events events = {.n = 1, .event = &event};
    must(outbox_append(fixture->pg, &fixture->arena, STREAM_REQUESTED, (int)fixture->config.flow_lanes, &events, &err),
         &err);
}

static void on_ack(void *arg, uintptr_t tag, const struct kafka_failure *failure) {
    (void)tag;
    *(int *)arg = failure ? -1 : 1;
}

void fixture_produce(struct fixture *fixture, enum stream stream, const void *value, size_t len) {
    struct kafka_producer *producer;
    struct err err;
    int acked = 0, fd = eventfd(0, EFD_NONBLOCK);
    struct outbox_entry entry = {.coupon_id = fixture->coupon_id, .payload = value, .payload_len = len};
    const struct kafka_acks acks = {.on_ack = on_ack, .arg = &acked, .wake_fd = fd};
    must(kafka_producer_new(&fixture->context.kafka, stream, &acks, &producer, &err), &err);
    must(kafka_produce(producer, &entry, 1, 0, &err), &err);
    cr_assert(kafka_producer_flush(producer, 30000));
    kafka_producer_poll(producer);
    cr_assert_eq(acked, 1);
    kafka_producer_free(producer);
    close(fd);
}

struct flag fixture_flag(struct fixture *fixture) {
    struct flag flag = {.coupon_id = fixture->coupon_id};
    struct err err;
    must(flags_get(fixture->flags, &flag, 1, &err), &err);
    return flag;
}

struct relay *fixture_relay(struct fixture *fixture, enum stream stream) {
    struct err err;
    must(relay_start(&fixture->context, stream, &fixture->context.relays[stream], &err), &err);
    return fixture->context.relays[stream];
}

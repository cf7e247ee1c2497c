/* SPDX-License-Identifier: Apache-2.0 */
/* The fixture of the flow tests: each test has its own schema, topic prefix and coupon ids on the servers that
 * POSTGRES_URL, REDIS_URL and KAFKA_BROKERS name. */
#pragma once

#include "flow/context.h"
#include "store/coupons.h"
#include "store/flags.h"
#include "store/kafka.h"
#include "store/pg.h"

struct fixture {
    char schema[32], url[512], prefix[32];
    struct config config;
    struct context context; /* options and kafka_admin are set */
    struct pg *pg;          /* a hot connection for set-up and queries */
    struct flags *flags;
    struct arena arena;
    int64_t coupon_id; /* the test's coupon, which no other test uses */
};

/* Migrates the schema and creates the topics. Creates no coupon. */
void fixture_init(struct fixture *fixture);
void fixture_deinit(struct fixture *fixture);
/* Creates an open coupon of this quantity without an expire_time. Sets coupon_id. */
void fixture_coupon(struct fixture *fixture, int64_t quantity);
/* Runs SQL without parameters, which must succeed. */
void fixture_sql(struct fixture *fixture, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Returns the single number that a query returns. */
int64_t fixture_number(struct fixture *fixture, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Waits until the query returns this number, for up to 30 s (longer under sanitizers). */
void fixture_wait_for(struct fixture *fixture, int64_t number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Inserts a ledger row (user = 1000 + ticket, request id "r<ticket>") as admit would, without the outbox. */
void fixture_ledger(struct fixture *fixture, int64_t ticket);
/* Makes an event in the fixture's arena. PublishRequested has a traceparent. */
#define FIXTURE_TRACEPARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
struct pg_bytes fixture_event(struct fixture *fixture, enum stream stream, int64_t user_id, int64_t ticket);
/* Appends a PublishRequested event, which may be forged, to the outbox. */
void fixture_outbox(struct fixture *fixture, int64_t user_id, int64_t ticket);
/* Produces one message to a stream's topic, and waits for the acknowledgement. */
void fixture_produce(struct fixture *fixture, enum stream stream, const void *value, size_t len);
/* Reads the flag in Redis. */
struct flag fixture_flag(struct fixture *fixture);

/* Starts the relay of a stream, and adds it to the context for other stages. */
struct relay *fixture_relay(struct fixture *fixture, enum stream stream);

/* SPDX-License-Identifier: Apache-2.0 */
/* What the flow tests share: a schema, a topic prefix and coupon ids of their own on the servers that POSTGRES_URL,
 * REDIS_URL and KAFKA_BROKERS name. */
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
    struct pg *pg;          /* for setting up and looking, hot */
    struct flags *flags;
    struct arena arena;
    int64_t coupon_id; /* of a fresh coupon */
};

/* Migrated, topics made, no coupon yet. */
void fixture_init(struct fixture *fixture);
void fixture_deinit(struct fixture *fixture);
/* A coupon of this quantity, open at once and for ever; sets coupon_id. */
void fixture_coupon(struct fixture *fixture, int64_t quantity);
/* Plain SQL that must succeed. */
void fixture_sql(struct fixture *fixture, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The one number that a query gives. */
int64_t fixture_number(struct fixture *fixture, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Waits until the query gives this number, for up to 30 s (longer under sanitizers). */
void fixture_wait_for(struct fixture *fixture, int64_t number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A ledger row (user = 1000 + ticket, request id "r<ticket>") as admit would have written it, without outbox. */
void fixture_ledger(struct fixture *fixture, int64_t ticket);
/* An event in the fixture's arena; PublishRequested has a traceparent. */
#define FIXTURE_TRACEPARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
struct pg_bytes fixture_event(struct fixture *fixture, enum stream stream, int64_t user_id, int64_t ticket);
/* Appends a PublishRequested event to the outbox, as the ledger has it or forged. */
void fixture_outbox(struct fixture *fixture, int64_t user_id, int64_t ticket);
/* Produces one message to a stream's topic; waits for the acknowledgement. */
void fixture_produce(struct fixture *fixture, enum stream stream, const void *value, size_t len);
/* The flag in Redis. */
struct flag fixture_flag(struct fixture *fixture);

/* Starts the relay of a stream; the context's other stages find it there. */
struct relay *fixture_relay(struct fixture *fixture, enum stream stream);

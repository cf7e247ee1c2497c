/* SPDX-License-Identifier: Apache-2.0 */
/* The context that every stage and service starts with: the settings, the options of the backends, and the parts
 * that several stages share.
 *
 * server.c fills it from top to bottom while it starts the stages, in the reverse of the order in which data flows.
 * A stage therefore finds every stage that it hands work to, and the later fields are not set yet. All start
 * functions have one shape (relay_start takes the stream as well):
 *
 *   bool NAME_start(struct context *context, struct NAME **ret_NAME, struct err *err)
 *
 * A start function copies the fields that it needs. It may also keep the pointer: the context lives until every
 * stage has stopped. After the start only first_postgres_host and groups change, which are atomic, and trace_outage,
 * which is the tracer's; any thread may read the rest of the context. */
#pragma once

#include "base/outage.h"
#include "config/config.h"
#include "store/kafka.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "store/redis.h"
#include "trace/tracer.h"

struct context {
    const struct config *config;
    atomic_int first_postgres_host; /* what `hot` and `cold` share */
    struct pg_options hot;          /* for the statements that every request needs */
    struct pg_options cold;         /* for everything else */
    struct redis_options redis;
    struct kafka_options kafka;
    struct kafka_admin *kafka_admin;
    struct kafka_group groups[STREAMS]; /* the members issue and complete share them with flow/topics/keeper.h */

    struct tracer *tracer; /* NULL: tracing is off (flow/tracing.h) */
    struct outage trace_outage;

    struct coupon_memory *coupon_memory; /* flow/gate/coupon_memory.h */
    struct ticket_holders *ticket_holders;
    struct watch *watch;
    struct status *status;
    struct holdings *holdings;
    struct relay *relays[STREAMS]; /* NULL if relay.run is off */
    struct admit *admit;
    struct gate *gate;
};

/* What every stage and service is started with: the settings, how backends are reached, and the parts that several
 * stages share.
 *
 * server.c fills it from top to bottom while it starts the stages, in the reverse of the order in which data flows. So
 * a stage finds everything that it hands work to, and nothing else is set yet. All starts have one shape:
 *
 *   bool NAME_start(struct context *context, struct NAME **ret_NAME, struct err *err)
 *
 * They keep what they need of the context, and may keep the pointer: it lives until every stage has stopped. */
#pragma once

#include "config/config.h"
#include "store/kafka.h"
#include "store/outbox.h"
#include "store/pg.h"

struct context {
    const struct config *config;
    struct pg_options hot;  /* for the statements that each request costs */
    struct pg_options cold; /* for everything else */
    struct kafka_options kafka;
    struct kafka_admin *kafka_admin;

    struct coupon_memory *coupon_memory; /* flow/gate/coupon_memory.h */
    struct ticket_holders *ticket_holders;
    struct watch *watch;
    struct status *status;
    struct relay *relays[STREAMS]; /* NULL where relay.run is off */
    struct admit *admit;
    struct gate *gate;
};

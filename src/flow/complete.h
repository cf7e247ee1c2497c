/* Step 7, complete: from the published topic to the flag. For the coupons of a batch, one question to Postgres; where
 * nothing is left, the flag in Redis becomes false, by version. Committed to Kafka after that; doing it twice is
 * harmless. Also wakes those who watch here for what another process issued. */
#pragma once

#include "config/config.h"
#include "store/kafka.h"
#include "store/pg.h"

struct complete;
struct known;
struct watch;

struct complete *complete_start(const struct config *config, const struct pg_options *postgres,
                                const struct kafka_options *kafka, struct known *known, struct watch *watch,
                                struct err *err);
void complete_stop(struct complete *complete);

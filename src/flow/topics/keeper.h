/* The thread that watches the shared topics: see flow/topics.h. */
#pragma once

#include "store/kafka.h"
#include "store/pg.h"

struct topics_keeper;

struct topics_keeper *topics_keeper_start(const struct pg_options *postgres, const struct kafka_options *kafka,
                                          struct kafka_admin *admin);
void topics_keeper_stop(struct topics_keeper *keeper);

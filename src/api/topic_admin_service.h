/* TopicAdminService, and an eye on the topics: listing, migrating between versions, deleting and retiring on command.
 * The lanes are moved by their relays (flow/lane_move.h); this only sets the target.
 *
 * A second thread, the keeper, compares the shared topics with how they were created: partitions that somebody adds by
 * hand send coupons to other partitions than before, which loses nothing (the ticket decides) but is told. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "config/config.h"
#include "store/kafka.h"
#include "store/pg.h"

struct topics;

/* At the start: records version 1 with kafka.partitions in a new database, refuses settings that contradict what is
 * recorded or what Kafka has (ERR_INVALID), and creates what is missing. ERR_UNAVAILABLE: Kafka is away; the relays
 * create the topics later. */
bool topics_prepare(const struct config *config, const struct pg_options *postgres, const struct kafka_options *kafka,
                    struct kafka_admin *admin, struct err *err);

struct topics *topics_start(const struct config *config, const struct pg_options *postgres,
                            const struct kafka_options *kafka, struct kafka_admin *admin);
ProtobufCService *topics_service_base(struct topics *topics);
void topics_stop(struct topics *topics); /* NULL is fine */

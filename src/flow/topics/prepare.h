/* What couponsd does about the topics before it serves. */
#pragma once

#include "flow/context.h"

/* In a new database, records version 1 of the topics with kafka.partitions. Refuses settings that contradict what is
 * recorded or what Kafka has (ERR_INVALID), and creates the topics that are missing. ERR_UNAVAILABLE: Kafka is away;
 * the relays create the topics later. Needs the options and kafka_admin of the context. */
bool topics_prepare(const struct context *context, struct err *err);

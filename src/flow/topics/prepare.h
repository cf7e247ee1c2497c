/* SPDX-License-Identifier: Apache-2.0 */
/* Prepares the topics before couponsd serves. */
#pragma once

#include "flow/context.h"

/* Checks and creates the shared topics. Needs the options and kafka_admin of the context.
 *
 *   - In a new database, records version 1 of the topics with kafka.partitions.
 *   - Fails with ERR_INVALID if the settings contradict the database or Kafka.
 *   - Creates the topics that are missing.
 *   - Fails with another error of Kafka if it is unavailable, or refuses at present; the relays create the topics
 *     later. */
bool topics_prepare(const struct context *context, struct err *err);

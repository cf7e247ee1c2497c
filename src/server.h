/* SPDX-License-Identifier: Apache-2.0 */
/* The whole server: starts the stages in the reverse of the order in which data flows, serves, and drains.
 *
 *   request → gate → admit → (Postgres) → relay requested → (Kafka) → issue → (Postgres) → relay published → (Kafka)
 *   → complete → (Redis)
 *
 * status, watch and the administrative services answer from Postgres. The reconciler repairs what differs.
 *
 * The main thread calls all functions. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "config/config.h"

struct server;

/* How libpq and librdkafka check the settings that belong to them. */
extern const struct config_checks server_config_checks;

/* Migrates the database, creates the topics, and starts everything. Waits for Postgres for up to
 * server.startup_wait_ms, or until stop_is_asked() returns true. Redis and Kafka may become available later. `config`
 * must outlive the server. */
bool server_start(const struct config *config, bool (*stop_is_asked)(void), struct server **ret_server,
                  struct err *err);
/* The addresses that the server listens on, with the ports that are bound. They live as long as the server. */
const char *server_grpc_address(const struct server *server);
const char *server_http_address(const struct server *server);
/* Stops and frees the server. NULL is fine. In this order, it:
 *
 *   - reports NOT_SERVING,
 *   - finishes the calls in flight, for up to server.drain_ms or until *hurry is true,
 *   - stops the stages, which commit and leave their consumer groups (the order is in server.c). */
void server_stop(struct server *server, const atomic_bool *hurry);

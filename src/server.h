/* The whole server: starts the stages in the reverse of the order in which data flows, serves, drains.
 *
 *   request → gate → admit → (Postgres) → relay requested → (Kafka) → issue → (Postgres) → relay published → (Kafka)
 *   → complete → (Redis);  status, watch and admin answer from Postgres; reconcile mends. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "config/config.h"

struct server;

/* What the settings have libpq and librdkafka check. */
extern const struct config_checks server_config_checks;

/* Migrates the database, makes the topics, starts everything. Waits for Postgres for up to server.startup_wait_ms;
 * Redis and Kafka may come up later. `config` must outlive the server. */
bool server_start(const struct config *config, struct server **ret_server, struct err *err);
/* With the ports bound. */
const char *server_grpc_address(const struct server *server);
const char *server_http_address(const struct server *server);
/* Says NOT_SERVING, finishes what is in flight (for up to server.drain_ms, or until *hurry), stops the stages in the
 * order in which data flows, commits, leaves the groups. Frees the server. NULL is fine. */
void server_stop(struct server *server, const atomic_bool *hurry);

/* DeadLetterAdminService: listing, showing, replaying and dropping the events that issue and complete put aside.
 *
 * Replaying judges an event by the same rules as issue does (flow/issue_decide.h). What could be issued is appended to
 * the outbox again, in the transaction that marks the letter as replayed, with what the ledger says in it: so it takes
 * the way of every event, and issue has the last word. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "config/config.h"
#include "flow/relay.h"
#include "store/kafka.h"
#include "store/pg.h"

struct dead_letter_admin;

/* `relay`: of the requested stream; NULL: other processes relay. */
struct dead_letter_admin *dead_letter_admin_start(const struct config *config, const struct pg_options *postgres,
                                                  const struct kafka_options *kafka, struct relay *relay);
ProtobufCService *dead_letter_admin_service_base(struct dead_letter_admin *admin);
void dead_letter_admin_stop(struct dead_letter_admin *admin); /* NULL is fine */

/* DeadLetterAdminService: listing, showing, replaying and dropping the events that issue and complete put aside.
 *
 * Replaying judges an event by the same rules as issue does (flow/issue_decide.h). What could be issued is appended to
 * the outbox again, in the transaction that marks the letter as replayed, with what the ledger says in it: so it takes
 * the way of every event, and issue has the last word. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "flow/context.h"

bool dead_letter_admin_service_start(struct context *context, ProtobufCService **ret_service, struct err *err);
void dead_letter_admin_service_stop(ProtobufCService *service); /* NULL is fine */

/* SPDX-License-Identifier: Apache-2.0 */
/* DeadLetterAdminService lists, shows, replays and drops the events that issue and complete put aside. One thread
 * performs the calls one by one.
 *
 * A replay judges the event by the same rules as issue (model/issue_decide.h). If the event can be issued, one
 * transaction appends it to the outbox, with the ledger's values, and marks the letter as replayed. Issue
 * then processes the event as usual, and makes the final decision. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "flow/context.h"

bool dead_letter_admin_service_start(struct context *context, ProtobufCService **ret_service, struct err *err);
void dead_letter_admin_service_stop(ProtobufCService *service); /* NULL is fine */

/* Where requests stand: GetStatus, ListUserCoupons, and the ledger's word on requests that gate or admit did not give a
 * ticket to (a repeat gets its first answer, brought up to date). One query for all that are waiting. */
#pragma once

#include "flow/context.h"
#include "flow/request.h"

struct status;

bool status_start(struct context *context, struct status **ret_status, struct err *err);
/* False: full. Any thread. */
bool status_push(struct status *status, struct request *request);
void status_stop(struct status *status);

/* Where requests stand: GetStatus, ListUserCoupons, and the ledger's word on requests that gate or admit did not give a
 * ticket to (a repeat gets its first answer, brought up to date). One query for all that are waiting. */
#pragma once

#include "config/config.h"
#include "flow/request.h"
#include "store/pg.h"

struct status;

struct status *status_start(const struct config *config, const struct pg_options *postgres);
/* False: full. Any thread. */
bool status_push(struct status *status, struct request *request);
void status_stop(struct status *status);

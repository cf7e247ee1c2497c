/* SPDX-License-Identifier: Apache-2.0 */
/* The console's calls of couponsd's own services. A call goes the way of every other call, with the token of the person
 * who looks at the console: so its rights, limits, errors and audit lines are those of gRPC. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "http/request.h"
#include "rpc/server.h"

struct calls;

bool calls_new(struct rpc_server *server, struct calls **ret_calls, struct err *err);
/* Later calls are answered 503. Waits for those in flight for a moment, then cancels them. Before the server stops. */
void calls_end(struct calls *calls);
/* NULL is fine. */
void calls_free(struct calls *calls);

enum calls_kind { CALLS_UNKNOWN, CALLS_READ, CALLS_CHANGE };
/* What SERVICE/METHOD does, e.g. "CouponAdminService/PauseCoupon". CALLS_UNKNOWN: the console does not call it. */
enum calls_kind calls_kind_of(const char *name);
/* Calls it, with the query as the request's fields, and answers with its response in JSON, or with an error. From the
 * handler, for a name that is not CALLS_UNKNOWN. */
void calls_make(struct calls *calls, struct http_request *request, const char *name);
/* Connects again if the connection is lost; its calls may go on. To be called about once a second, by one thread. */
void calls_mend(struct calls *calls);

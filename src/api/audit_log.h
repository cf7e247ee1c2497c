/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log: a line for each call of a method that only administrators may call.
 *
 *   event=audit caller=… method=…/… peer=… coupon_id=… result=OK
 *
 * `caller` is the name in the caller's certificate, "token:" with the first 12 digits of its token's SHA-256, "anyone"
 * where no role is configured, or "unknown". `result` is OK or the reason. Lines of calls that had no permission are
 * limited, as other lines are; all others are written. */
#pragma once

#include <stdint.h>

#include "model/reason.h"
#include "rpc/server.h"

#define AUDIT_CALLER_SIZE 128

/* The call begins; from rpc_server_options.allow. Does nothing for methods that others may call. Copies `caller`. */
void audit_log_begin(struct rpc_call *call, const char *service, const char *method, const char *caller);
/* The coupon that the call is about, once it is known; 0: none. Before its answer. */
void audit_log_set_coupon(struct rpc_call *call, int64_t coupon_id);
/* The call is about to be answered. Before that, since the call may not live on. Any thread. */
void audit_log_ok(struct rpc_call *call);
void audit_log_failed(struct rpc_call *call, enum reason reason);

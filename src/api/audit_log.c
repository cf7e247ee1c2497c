/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log; see audit_log.h. A call carries its record as its state. */
#include "api/audit_log.h"

#include <stdio.h>
#include <string.h>

#include "api/services.h"
#include "base/log.h"

struct record {
    const char *peer;
    int64_t coupon_id;
    char caller[AUDIT_CALLER_SIZE], method[100];
};

void audit_log_begin(struct rpc_call *call, const char *service, const char *method, const char *caller) {
    if (api_roles_of(service, method) != ROLE_ADMIN)
        return;
    struct record *record = rpc_call_alloc(call, sizeof *record);
    const char *short_name = strrchr(service, '.');
    record->peer = rpc_call_peer(call);
    snprintf(record->caller, sizeof record->caller, "%s", caller);
    snprintf(record->method, sizeof record->method, "%s/%s", short_name ? short_name + 1 : service, method);
    rpc_call_set_state(call, record);
}

void audit_log_set_coupon(struct rpc_call *call, int64_t coupon_id) {
    struct record *record = rpc_call_state(call);
    if (record)
        record->coupon_id = coupon_id;
}

static void tell(struct rpc_call *call, struct log_site *site, const char *result) {
    const struct record *record = rpc_call_state(call);
    if (!record)
        return;
    const struct log_field fields[] = {
        LOG_STR("caller", record->caller), LOG_STR("method", record->method),       LOG_STR("peer", record->peer),
        LOG_STR("result", result),         LOG_INT("coupon_id", record->coupon_id),
    };
    size_t n = sizeof fields / sizeof fields[0] - (record->coupon_id == 0);
    log_event(site, LOG_LEVEL_INFO, "audit", fields, n);
    rpc_call_set_state(call, NULL); /* a second answer is ignored */
}

void audit_log_ok(struct rpc_call *call) {
    struct log_site unlimited = {0};
    tell(call, &unlimited, "OK");
}

void audit_log_failed(struct rpc_call *call, enum reason reason) {
    static struct log_site limited;
    struct log_site unlimited = {0};
    tell(call, reason == REASON_PERMISSION ? &limited : &unlimited, reason_info(reason)->name);
}

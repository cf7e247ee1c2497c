/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/early.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "edge/edge.h"
#include "rpc/encode.h"
#include "rpc/server_internal.h"
#include "rpc/taken.h"

#define TEXT_MAX    256 /* bytes of a message, percent-encoded, with a NUL */
#define DETAILS_MAX 360 /* bytes of serialized details */

bool rpc_refusal_make(struct rpc_refusal *ret_refusal, const struct rpc_status *status, uint32_t tag) {
    char code[12], text[TEXT_MAX], details[BASE64_SIZE(DETAILS_MAX)];
    if (status->details_len > DETAILS_MAX || !percent_encode(status->message ? status->message : "", text, sizeof text))
        return false;
    snprintf(code, sizeof code, "%d", status->code);
    base64_encode(status->details, status->details_len, details);
    const struct edge_header headers[] = {
        {"content-type", "application/grpc"},
        {"grpc-status", code},
        {"grpc-message", text},
        {"grpc-status-details-bin", details},
    };
    size_t n = sizeof headers / sizeof headers[0] - (status->details_len == 0);
    ret_refusal->answer.tag = (uint64_t)tag << 32 | (uint32_t)status->code;
    return edge_answer_make(&ret_refusal->answer, headers, n);
}

const char *rpc_early_call_metadata(const struct rpc_early_call *call, const char *key, size_t *ret_len) {
    const struct edge_field *field = edge_call_field(call->edge, key);
    if (!field)
        return NULL;
    *ret_len = field->value_len;
    return field->value;
}

/* Counts the call for its caller. False: the caller has reached a limit, or is known by its address only. */
static bool count_caller(struct rpc_server *server, uint64_t key) {
    if (!server->callers)
        return true;
    struct caller *caller = key ? callers_enter(server->callers, key, clock_mono_us()) : NULL;
    if (caller)
        callers_leave(server->callers, caller);
    return caller != NULL;
}

static const struct edge_answer *answer(void *arg, const struct edge_call *edge_call) {
    struct rpc_server *server = arg;
    const struct rpc_early *early = &server->options.early;
    const struct edge_field *authorization = edge_call_field(edge_call, "authorization");
    struct rpc_early_call call = {
        .message = edge_call->message,
        .len = edge_call->len,
        .authorization = authorization ? authorization->value : NULL,
        .authorization_len = authorization ? authorization->value_len : 0,
        .edge = edge_call,
    };
    if (edge_call->len > server->options.max_message_bytes)
        return NULL;
    const struct rpc_refusal *refusal = early->refuse ? early->refuse(early->arg, &call) : NULL;
    return refusal && count_caller(server, call.caller) ? &refusal->answer : NULL;
}

static void on_answered(void *arg, uint64_t tag, int64_t n) {
    const struct rpc_server *server = arg;
    const struct rpc_early *early = &server->options.early;
    early->on_refused(early->arg, (int)(uint32_t)tag, (uint32_t)(tag >> 32), n);
}

void early_start(struct rpc_server *server, int port) {
    struct edge_early early = {
        .path = server->options.early.path, .answer = answer, .on_answered = on_answered, .arg = server};
    if (!early.path || server->tls)
        return;
    taken_offer(server, &early);
    edge_answer_early(port, &early, server->options.max_metadata_bytes);
}

void early_stop(int port) {
    edge_stop_early(port);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Prints how a call failed; see status.h. All functions may run on any thread. */
#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "ctl.h"
#include "model/reason.h"
#include "output.h"

#define RETRY_MS_MAX   200 /* short, so that a restarted server gets requests soon */
#define RETRY_MS_FIRST 10

int failure_exit_code(const struct coupons_failure *failure) {
    bool no_answer =
        failure->code == RPC_UNAVAILABLE || failure->code == RPC_DEADLINE_EXCEEDED || failure->code == RPC_CANCELLED;
    return no_answer ? EXIT_UNREACHABLE : EXIT_REFUSED;
}

bool code_is_retriable(int code) {
    return code == RPC_UNAVAILABLE || code == RPC_DEADLINE_EXCEEDED || code == RPC_RESOURCE_EXHAUSTED;
}

int64_t failure_retry_ms(const struct coupons_failure *failure, int attempt) {
    int64_t ms = failure->retry_after_ms;
    if (ms < 0)
        ms = attempt < 6 ? (int64_t)RETRY_MS_FIRST << (attempt - 1) : RETRY_MS_MAX;
    return ms < RETRY_MS_MAX ? ms : RETRY_MS_MAX;
}

/* --- output --- */

/* Returns advice for a person, or NULL: by the reason, or by the code if couponsd gave no reason. */
static const char *hint_for(const struct coupons_failure *failure) {
    static const char *const by_code[RPC_CODES] = {
        [RPC_UNAVAILABLE] = "is couponsd running there? --server HOST:PORT or COUPONCTL_SERVER sets the address",
        [RPC_DEADLINE_EXCEEDED] = "--timeout MS waits longer",
        [RPC_UNIMPLEMENTED] = "is the server couponsd, and of this version?",
    };
    enum reason reason = reason_named(failure->reason);
    if (reason != REASON_NONE)
        return reason_info(reason)->hint;
    return !*failure->reason && failure->code >= 0 && failure->code < RPC_CODES ? by_code[failure->code] : NULL;
}

/* True if the request may have been accepted although the call failed. */
static bool is_unknown(const struct coupons_failure *failure) {
    return code_is_retriable(failure->code) || failure->code == RPC_CANCELLED || failure->code == RPC_UNKNOWN ||
           failure->code == RPC_INTERNAL;
}

/* The text of the server repeats the bad fields, which are printed below it. */
static const char *message_of(const struct coupons_failure *failure) {
    if (failure->n_fields > 0)
        return "the server refused these fields:";
    return *failure->message ? failure->message : "the server sent no message";
}

static void print_people(const struct coupons_failure *failure, const char *server, const char *request_id) {
    struct strbuf out = {0};
    strbuf_printf(&out, "couponctl: %s", coupons_failure_name(failure));
    if (*failure->reason)
        strbuf_printf(&out, " (%s)", rpc_code_name(failure->code));
    if (server && failure_exit_code(failure) == EXIT_UNREACHABLE)
        strbuf_printf(&out, " from %s", server);
    strbuf_printf(&out, ": %s\n", message_of(failure));
    for (size_t i = 0; i < failure->n_fields; i++)
        strbuf_printf(&out, "  %s: %s\n", failure->fields[i].name, failure->fields[i].text);
    for (size_t i = 0; i < failure->n_metadata; i++)
        strbuf_printf(&out, "  %s = %s\n", failure->metadata[i].name, failure->metadata[i].text);
    if (failure->retry_after_ms >= 0)
        strbuf_printf(&out, "  try again after %lld ms\n", (long long)failure->retry_after_ms);
    const char *hint = hint_for(failure);
    if (hint)
        strbuf_printf(&out, "  %s\n", hint);
    if (request_id && is_unknown(failure))
        strbuf_printf(&out, "  the request may have been accepted: to find out, repeat it with --request-id %s\n",
                      request_id);
    print_safely(stderr, out.data);
    strbuf_deinit(&out);
}

static void add_member(struct strbuf *out, const char *before, const char *name, const char *text) {
    strbuf_puts(out, before);
    strbuf_json(out, name);
    strbuf_puts(out, ":");
    strbuf_json(out, text);
}

static void print_json(const struct coupons_failure *failure, const char *request_id) {
    struct strbuf out = {0};
    add_member(&out, "{\"error\":{", "code", rpc_code_name(failure->code));
    add_member(&out, ",", "reason", failure->reason);
    add_member(&out, ",", "message", failure->message);
    strbuf_puts(&out, ",\"metadata\":{");
    for (size_t i = 0; i < failure->n_metadata; i++)
        add_member(&out, i ? "," : "", failure->metadata[i].name, failure->metadata[i].text);
    strbuf_puts(&out, "},\"fields\":[");
    for (size_t i = 0; i < failure->n_fields; i++) {
        add_member(&out, i ? ",{" : "{", "field", failure->fields[i].name);
        add_member(&out, ",", "description", failure->fields[i].text);
        strbuf_puts(&out, "}");
    }
    strbuf_puts(&out, "]");
    if (failure->retry_after_ms >= 0)
        strbuf_printf(&out, ",\"retry_after_ms\":%lld", (long long)failure->retry_after_ms);
    strbuf_puts(&out, "}");
    if (request_id)
        add_member(&out, ",", "request_id", request_id);
    strbuf_puts(&out, "}");
    puts(out.data);
    strbuf_deinit(&out);
}

void failure_print(const struct coupons_failure *failure, bool json, const char *server, const char *request_id) {
    fflush(stdout); /* keeps the order of stdout and stderr */
    if (json)
        print_json(failure, request_id);
    else
        print_people(failure, server, request_id);
}

void failure_print_text(bool json, const char *code, const char *text) {
    struct strbuf out = {0};
    if (json) {
        add_member(&out, "{\"error\":{", "code", code);
        add_member(&out, ",", "reason", "");
        add_member(&out, ",", "message", text);
        strbuf_puts(&out, ",\"metadata\":{},\"fields\":[]}}\n");
        fputs(out.data, stdout);
    } else {
        strbuf_printf(&out, "couponctl: %s\n", text);
        print_safely(stderr, out.data);
    }
    strbuf_deinit(&out);
}

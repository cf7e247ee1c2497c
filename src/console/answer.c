/* SPDX-License-Identifier: Apache-2.0 */
#include "console/answer.h"

#include "console/json.h"
#include "rpc/rpc.h"

const struct http_header answer_headers[] = {
    {"Cache-Control", "no-store"},
    {"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                                "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Referrer-Policy", "no-referrer"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
};
const size_t n_answer_headers = sizeof answer_headers / sizeof answer_headers[0];

static void respond(struct http_request *request, unsigned status, const struct strbuf *json) {
    http_respond(request, &(struct http_response){
                              .status = status,
                              .content_type = "application/json",
                              .body = json->data,
                              .len = json->len,
                              .headers = answer_headers,
                              .n_headers = n_answer_headers,
                          });
}

void answer_json(struct http_request *request, const struct strbuf *json) {
    respond(request, 200, json);
}

static unsigned http_status_of(int code) {
    static const unsigned statuses[RPC_CODES] = {
        [RPC_OK] = 200,
        [RPC_INVALID_ARGUMENT] = 400,
        [RPC_FAILED_PRECONDITION] = 400,
        [RPC_OUT_OF_RANGE] = 400,
        [RPC_UNAUTHENTICATED] = 401,
        [RPC_PERMISSION_DENIED] = 403,
        [RPC_NOT_FOUND] = 404,
        [RPC_ALREADY_EXISTS] = 409,
        [RPC_ABORTED] = 409,
        [RPC_RESOURCE_EXHAUSTED] = 429,
        [RPC_CANCELLED] = 503,
        [RPC_UNAVAILABLE] = 503,
        [RPC_DEADLINE_EXCEEDED] = 504,
    };
    unsigned status = code >= 0 && code < RPC_CODES ? statuses[code] : 0;
    return status ? status : 500;
}

void answer_error(struct http_request *request, int code, const char *reason, const char *message) {
    struct strbuf json = {0};
    json_open(&json, NULL, '{');
    json_text(&json, "code", rpc_code_name(code));
    json_text(&json, "reason", reason);
    json_text(&json, "message", message);
    json_end(&json);
    respond(request, http_status_of(code), &json);
    strbuf_deinit(&json);
}

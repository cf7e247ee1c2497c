/* SPDX-License-Identifier: Apache-2.0 */
/* What all answers of the console share: their headers, and JSON. */
#pragma once

#include "base/rpc_code.h"
#include "base/strbuf.h"
#include "http/request.h"

/* They go with each answer, whatever it is, and guard the page in a browser. */
extern const struct http_header answer_headers[];
extern const size_t n_answer_headers;

/* Answers 200. */
void answer_json(struct http_request *request, const struct strbuf *json);
/* Answers with an error: {"code": …, "reason": …, "message": …}. `code`: of gRPC, from which HTTP's status follows.
 * `reason` may be "". */
void answer_error(struct http_request *request, int code, const char *reason, const char *message);

/* SPDX-License-Identifier: Apache-2.0 */
/* What http.c and request.c share. */
#pragma once

#include <microhttpd.h>
#include <stdatomic.h>

#include "http/request.h"

struct http_request {
    struct MHD_Connection *connection;
    const char *method, *path; /* libmicrohttpd's */
    bool has_tls;
    bool is_deferred;              /* the HTTP thread's */
    atomic_bool is_answered;       /* set last */
    struct MHD_Response *response; /* NULL: out of memory */
    unsigned status;
    struct http_stream stream; /* close NULL: the answer is no stream */
};

/* `method` and `path` live as long as the request. */
struct http_request *http_request_new(struct MHD_Connection *connection, const char *method, const char *path);
/* Closes its stream and frees it. */
void http_request_end(struct http_request *request);

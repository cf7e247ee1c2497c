/* SPDX-License-Identifier: Apache-2.0 */
/* Refuses calls of RequestPublish before gRPC reads them, where the gate knows the answer: the coupon is sold out, and
 * the user holds no ticket. Everything else, and whatever is unusual about a request, goes the long way. */
#pragma once

#include "api/access.h"
#include "flow/gate.h"
#include "rpc/server.h"

struct early_refusal {
    struct access *access;
    struct gate *gate;
    struct tracer *tracer; /* NULL: off */
};

/* The `early` of rpc_server_options. `refusal` must outlive the server. */
struct rpc_early early_refusal_options(struct early_refusal *refusal);

/* A request as early refusals read it. */
struct early_request {
    int64_t coupon_id, user_id;
};
/* False: it is unusual, e.g. it has bad fields. */
bool early_request_read(const uint8_t *bytes, size_t len, struct early_request *ret_request);

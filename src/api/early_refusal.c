/* SPDX-License-Identifier: Apache-2.0 */
#include "api/early_refusal.h"

#include "api/answer.h"
#include "api/rpc_metrics.h"
#include "flow/campaigns.h"
#include "flow/counters.h"
#include "model/event.h"

#define SERVICE "coupon.v1.CouponService"
#define METHOD  "RequestPublish"
/* A response repeats its request and adds at most a state, a ticket, a reason, and two times. */
#define ANSWER_BYTES 96

/* Tags of RequestPublishRequest's fields: their number times 8, plus the wire type. */
enum { TAG_COUPON_ID = 8, TAG_USER_ID = 16, TAG_REQUEST_ID = 26 };

static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_value) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* Printable ASCII only: the long way has the rules for other text. */
static bool skip_request_id(const uint8_t **at, const uint8_t *end) {
    uint64_t len;
    if (!read_varint(at, end, &len) || len > REQUEST_ID_MAX || len > (size_t)(end - *at))
        return false;
    for (const uint8_t *last = *at + len; *at < last; (*at)++)
        if (**at < ' ' || **at > '~')
            return false;
    return true;
}

bool early_request_read(const uint8_t *bytes, size_t len, struct early_request *ret_request) {
    const uint8_t *at = bytes, *end = bytes + len;
    uint64_t coupon_id = 0, user_id = 0;
    while (at < end) {
        bool is_fine = false;
        switch (*at++) {
        case TAG_COUPON_ID:
            is_fine = read_varint(&at, end, &coupon_id);
            break;
        case TAG_USER_ID:
            is_fine = read_varint(&at, end, &user_id);
            break;
        case TAG_REQUEST_ID:
            is_fine = skip_request_id(&at, end);
            break;
        }
        if (!is_fine)
            return false;
    }
    *ret_request = (struct early_request){(int64_t)coupon_id, (int64_t)user_id};
    return ret_request->coupon_id > 0 && ret_request->user_id > 0;
}

/* A call whose trace is to be recorded goes the long way, where the spans are made. */
static bool is_traced(const struct tracer *tracer, const struct rpc_early_call *call) {
    size_t len;
    const char *traceparent = tracer ? rpc_early_call_metadata(call, "traceparent", &len) : NULL;
    return traceparent && tracer_wants(tracer, traceparent, len);
}

static const struct rpc_refusal *refuse(void *arg, struct rpc_early_call *call) {
    const struct early_refusal *early = arg;
    struct early_request request;
    struct coupon coupon;
    enum refusal refusal;
    int64_t subject;
    if (!early_request_read(call->message, call->len, &request) ||
        !access_allows_early(early->access, call, SERVICE, METHOD, &subject) ||
        (subject && subject != request.user_id) ||
        !gate_refuses(early->gate, request.coupon_id, request.user_id, &refusal, &coupon) ||
        is_traced(early->tracer, call))
        return NULL;
    const struct rpc_refusal *answer = answer_early(request.coupon_id, refusal, &coupon);
    if (answer)
        campaigns_count(request.coupon_id, reason_of_refusal(refusal));
    return answer;
}

static void on_refused(void *arg, int code, uint32_t tag, int64_t n) {
    (void)arg;
    counters_refused_early((enum reason)tag, n);
    rpc_metrics_count_early(SERVICE, METHOD, code, n);
}

struct rpc_early early_refusal_options(struct early_refusal *refusal) {
    return (struct rpc_early){
        .path = "/" SERVICE "/" METHOD,
        .refuse = refuse,
        .on_refused = on_refused,
        .arg = refusal,
        .answer_bytes = ANSWER_BYTES,
    };
}

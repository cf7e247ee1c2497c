/* SPDX-License-Identifier: Apache-2.0 */
/* A span: what one step did for one request, and when. A span has no pointers but those to literals, or to names that
 * live as long as the process, so that it can wait in a queue. */
#pragma once

#include <stdint.h>

#include "trace/context.h"

/* The steps that have spans. trace/encode.c says how each is named. */
enum trace_step { TRACE_REQUEST, TRACE_GATE, TRACE_ADMIT, TRACE_RELAY, TRACE_ISSUE, TRACE_COMPLETE, TRACE_STEPS };

#define TRACE_TOPIC_SIZE 250 /* the longest name that Kafka allows, with a NUL */
#define TRACE_TEXT_SIZE  100

struct trace_span {
    uint8_t trace_id[TRACE_ID_BYTES], span_id[SPAN_ID_BYTES];
    uint8_t parent_id[SPAN_ID_BYTES]; /* all zeros: the span is the first of its trace */
    enum trace_step step;
    int64_t start_us, end_us; /* of clock_mono_us */
    int64_t coupon_id;        /* 0: none */
    int64_t ticket;           /* 0: none */
    int64_t batch_size;       /* requests or events that the step processed together; 0: does not apply */
    const char *outcome;      /* e.g. "accepted"; NULL: none */
    const char *reason;       /* why, e.g. "SOLD_OUT"; NULL: none */
    /* The step has failed. `error` says why, or is "". */
    bool is_error;
    char error[TRACE_TEXT_SIZE];
    /* TRACE_REQUEST */
    const char *service, *method;
    int code; /* enum rpc_code */
    /* TRACE_RELAY, TRACE_ISSUE and TRACE_COMPLETE */
    char topic[TRACE_TOPIC_SIZE];
    int32_t partition; /* -1: unknown */
    int64_t offset;    /* -1: unknown */
};

/* The step has failed. Copies `error`, which is UTF-8, as far as there is room. */
void trace_span_fail(struct trace_span *span, const char *error);

/* SPDX-License-Identifier: Apache-2.0 */
/* The spans of a batch of issue: one for each event of a request that is recorded. They are sent after the commit. Each
 * belongs to the batch's thread, and lives in the batch's arena. */
#pragma once

#include "base/arena.h"
#include "model/event.h"
#include "store/kafka.h"
#include "store/pg.h"
#include "trace/tracer.h"

struct issue_spans {
    struct tracer *tracer; /* NULL: off */
    struct arena *arena;
    int64_t start_us; /* of the batch; monotonic */
    size_t batch_size, n;
    struct trace_span **list; /* NULL: there is none yet */
};

/* The span of an event, and the traceparent of the event that follows it. */
struct issue_span {
    struct trace_span *span;     /* NULL: it is not recorded */
    struct pg_bytes traceparent; /* len 0: none */
};

void issue_spans_init(struct issue_spans *spans, struct tracer *tracer, struct arena *arena, size_t batch_size);
/* `text`: the decoded event. An event that is not recorded passes its traceparent on if that is printable. */
struct issue_span issue_spans_begin(struct issue_spans *spans, const struct kafka_message *message,
                                    const struct event *text);
/* `error` is NULL unless the event is at fault. */
void issue_span_end(struct issue_span span, const char *outcome, const char *error);
/* The transaction was committed. */
void issue_spans_push(const struct issue_spans *spans);

/* SPDX-License-Identifier: Apache-2.0 */
/* Encodes spans as OTLP has them: an ExportTraceServiceRequest, whose wire format is that of TracesData. Names and
 * attributes follow OpenTelemetry's semantic conventions 1.24.0. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "trace/span.h"

/* The process that the spans are of. */
struct trace_resource {
    const char *version;     /* of couponsd */
    const char *instance_id; /* differs between all processes */
    const char *host;
    int64_t pid;
};

/* Returns the encoded bytes, in the arena. */
uint8_t *trace_encode(struct arena *arena, const struct trace_resource *resource, const struct trace_span *spans,
                      size_t n, size_t *ret_len);

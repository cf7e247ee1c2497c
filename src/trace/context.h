/* SPDX-License-Identifier: Apache-2.0 */
/* W3C trace contexts (https://www.w3.org/TR/trace-context/): the header traceparent, and the choice of traces by their
 * ids. All functions are pure: any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_ID_BYTES 16
#define SPAN_ID_BYTES  8

/* An id is never all zeros. */
struct trace_context {
    uint8_t trace_id[TRACE_ID_BYTES];
    uint8_t span_id[SPAN_ID_BYTES];
    bool is_sampled; /* the flag: spans of this trace are recorded */
};

#define TRACEPARENT_SIZE 56 /* of a text of version 00, with a NUL */

/* Reads a traceparent of any version. Returns false if it is not valid. `text` has `len` bytes and needs no NUL; with
 * a length of 0 it may be NULL. */
bool trace_context_read(const char *text, size_t len, struct trace_context *ret_context);
/* Writes a traceparent of version 00. Returns `text`. */
char *trace_context_write(const struct trace_context *context, char text[static TRACEPARENT_SIZE]);
/* Whether the trace is one of the share `ratio` (0 to 1) of all traces. As OpenTelemetry has it, the last 56 bits of
 * the id decide: two programs with the same ratio choose the same traces, and a larger ratio adds traces. */
bool trace_is_chosen(const uint8_t trace_id[static TRACE_ID_BYTES], double ratio);

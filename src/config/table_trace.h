/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the table of settings that are about traces. Only config/table.c uses this; the table would be too long
 * for a file otherwise. */
#pragma once

#include <stddef.h>

#include "config/config.h"

#define TRACE_SETTINGS                                                                                                 \
    {.key = "trace.endpoint",                                                                                          \
     .type = TYPE_TEXT,                                                                                                \
     .min = 0,                                                                                                         \
     .max = 1000,                                                                                                      \
     .preset = "",                                                                                                     \
     .change = CHANGE_RESTART,                                                                                         \
     .text = "where traces are sent by OTLP/HTTP, e.g. http://127.0.0.1:4318/v1/traces; empty: nowhere",               \
     .offset = offsetof(struct config, trace_endpoint)},                                                               \
        {.key = "trace.headers",                                                                                       \
         .type = TYPE_TEXT,                                                                                            \
         .min = 0,                                                                                                     \
         .max = 4000,                                                                                                  \
         .preset = "",                                                                                                 \
         .change = CHANGE_RESTART,                                                                                     \
         .text = "headers for the receiver of traces: name=value,name=value; file:PATH keeps them secret",             \
         .offset = offsetof(struct config, trace_headers)},                                                            \
        {.key = "trace.ratio",                                                                                         \
         .type = TYPE_RATIO,                                                                                           \
         .preset = "0.01",                                                                                             \
         .change = CHANGE_RESTART,                                                                                     \
         .text = "the share of requests without a traceparent that are traced",                                        \
         .offset = offsetof(struct config, trace_ratio)},                                                              \
    {                                                                                                                  \
        .key = "trace.max_per_s", .type = TYPE_INT, .unit = "1/s", .min = 1, .max = 10000, .preset = "100",            \
        .change = CHANGE_RESTART, .text = "the greatest number of requests that are traced in a second",               \
        .offset = offsetof(struct config, trace_max_per_s)                                                             \
    }

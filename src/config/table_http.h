/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the table of settings that are about the HTTP side. Only config/table.c uses this; the table would be too
 * long for a file otherwise. */
#pragma once

#include <stddef.h>

#include "config/config.h"

#define HTTP_SETTINGS                                                                                                  \
    {.key = "http.listen",                                                                                             \
     .type = TYPE_LISTEN,                                                                                              \
     .preset = "127.0.0.1:9464",                                                                                       \
     .change = CHANGE_RESTART,                                                                                         \
     .text = "the address that serves /metrics, /healthz, /readyz and the console over HTTP",                          \
     .offset = offsetof(struct config, http_listen)},                                                                  \
        {.key = "http.tls_certificate",                                                                                \
         .type = TYPE_PATH,                                                                                            \
         .min = 0,                                                                                                     \
         .max = 4096,                                                                                                  \
         .preset = "",                                                                                                 \
         .change = CHANGE_RESTART,                                                                                     \
         .text = "the file of the certificate chain that HTTP shows; if set, http.listen uses TLS",                    \
         .offset = offsetof(struct config, http_tls_certificate)},                                                     \
        {.key = "http.tls_key",                                                                                        \
         .type = TYPE_PATH,                                                                                            \
         .min = 0,                                                                                                     \
         .max = 4096,                                                                                                  \
         .preset = "",                                                                                                 \
         .change = CHANGE_RESTART,                                                                                     \
         .text = "the file of the key of http.tls_certificate",                                                        \
         .offset = offsetof(struct config, http_tls_key)},                                                             \
    {                                                                                                                  \
        .key = "http.console", .type = TYPE_BOOL, .preset = "true", .change = CHANGE_RESTART,                          \
        .text = "serve the console at /console", .offset = offsetof(struct config, http_console)                       \
    }

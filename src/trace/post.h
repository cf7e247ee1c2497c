/* SPDX-License-Identifier: Apache-2.0 */
/* Sends OTLP messages to a receiver by HTTP, with libcurl. A post belongs to one thread at a time. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct post;

/* `endpoint` is an http or https URL. `headers` are further headers, "name=value,name=value", or "". Copies both. */
bool post_new(const char *endpoint, const char *headers, struct post **ret_post, struct err *err);
void post_free(struct post *post); /* NULL is fine */

enum post_result {
    POST_SENT,
    POST_FAILED,  /* the receiver does not answer, or is overloaded: a repeat may help */
    POST_REFUSED, /* the receiver does not take these bytes */
};
/* Waits for the answer for up to 5 s, or for 2 s at most once *hurry is true. Sets *err unless the bytes were sent. */
enum post_result post_send(struct post *post, const uint8_t *bytes, size_t len, const atomic_bool *hurry,
                           struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* How a call failed, told to people and to scripts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coupons.h"

/* 1 refused, 3 no answer. */
int failure_exit_code(const struct coupons_failure *failure);
/* Text with a hint on stderr, or with json an object on stdout. `server` and `request_id` may be NULL; the latter lets
 * the user repeat a request whose fate is unknown. */
void failure_print(const struct coupons_failure *failure, bool json, const char *server, const char *request_id);
/* The same for what failed on this side. */
void failure_print_text(bool json, const char *code, const char *text);

/* True for codes after which the same request may be sent again: no answer, or the server asks to come back. */
bool code_is_retriable(int code);
/* How long to wait after attempt number `attempt` (from 1): RetryInfo's delay, or else a growing one, capped. */
int64_t failure_retry_ms(const struct coupons_failure *failure, int attempt);

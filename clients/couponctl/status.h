/* SPDX-License-Identifier: Apache-2.0 */
/* Failed calls: exit codes, output for people and scripts, and retries. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coupons.h"

/* Returns EXIT_UNREACHABLE for UNAVAILABLE, DEADLINE_EXCEEDED and CANCELLED, and otherwise EXIT_REFUSED. The code
 * decides, and not the table of reasons: most calls without an answer have no reason, and a reason such as
 * BACKEND_UNAVAILABLE always comes with the code that decides here. */
int failure_exit_code(const struct coupons_failure *failure);
/* Prints text with advice on stderr, or with `json` an object on stdout. `server` and `request_id` may be NULL. With
 * the request_id, the user can repeat a request that may have been accepted. */
void failure_print(const struct coupons_failure *failure, bool json, const char *server, const char *request_id);
/* The same for an error of couponctl itself. */
void failure_print_text(bool json, const char *code, const char *text);

/* True if the same request may be sent again: there was no answer, or the server was overloaded. */
bool code_is_retriable(int code);
/* Returns the delay after attempt number `attempt` (from 1), at most 200 ms: the one in RetryInfo, or a growing one. */
int64_t failure_retry_ms(const struct coupons_failure *failure, int attempt);

/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that calls a function periodically: first after one interval, then one interval after the end of each
 * call. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct ticker;

/* `name` names the thread. Fails if the thread can't start. */
bool ticker_start(const char *name, int64_t interval_us, void (*tick)(void *arg), void *arg, struct ticker **ret_ticker,
                  struct err *err);
/* Waits for a running call, and ends the thread. NULL is fine. */
void ticker_stop(struct ticker *ticker);

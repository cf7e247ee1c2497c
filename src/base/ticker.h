/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that does something again and again: first after one interval, then an interval after each end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct ticker;

/* `name` is the thread's. False: no thread can be started. */
bool ticker_start(const char *name, int64_t interval_us, void (*tick)(void *arg), void *arg, struct ticker **ret_ticker,
                  struct err *err);
/* Waits for a tick that is running, and ends the thread. NULL is fine. */
void ticker_stop(struct ticker *ticker);

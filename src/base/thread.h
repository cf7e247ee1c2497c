/* SPDX-License-Identifier: Apache-2.0 */
/* Starts threads, and makes what they wait for. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"

/* Starts a thread that runs `run(arg)`. ps and debuggers show the first 15 bytes of `name`. Fails with ERR_INTERNAL if
 * the system has no room for another thread. */
bool thread_start(const char *name, void *(*run)(void *arg), void *arg, pthread_t *ret_thread, struct err *err);

/* Makes a condition whose time-outs are times of clock_mono_us, so that no change of the wall clock moves them. */
void thread_cond_init_monotonic(pthread_cond_t *cond);

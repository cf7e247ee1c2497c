/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a thread. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"

/* Starts a thread that runs `run(arg)`. `name` shows up in ps and in debuggers; the kernel keeps its first 15 bytes.
 * False: the system has no room for another thread (ERR_INTERNAL), and *ret_thread is untouched. */
bool thread_start(const char *name, void *(*run)(void *arg), void *arg, pthread_t *ret_thread, struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* Reports to the service manager, such as systemd, if there is one: that the server is ready, that it stops, and, if
 * the manager has a watchdog, that the server makes progress. The main thread calls all functions. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "config/config.h"

struct supervisor;

/* The server is ready. From now on, a thread answers the watchdog as long as no thread with a heart (base/heart.h) is
 * stuck in its work. */
bool supervisor_ready(const struct config *config, struct supervisor **ret_supervisor, struct err *err);
/* The server begins to stop; the watchdog is still answered. */
void supervisor_stopping(void);
/* Ends the thread. NULL is fine. */
void supervisor_free(struct supervisor *supervisor);

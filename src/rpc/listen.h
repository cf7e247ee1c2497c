/* SPDX-License-Identifier: Apache-2.0 */
/* Listen addresses, HOST:PORT. Any thread. */
#pragma once

#include "base/err.h"
#include <stdbool.h>

/* Checks that `listen` is HOST:PORT. The core would take a host without a port, and choose a port by itself. */
bool listen_check(const char *listen, struct err *err);
/* Tells why the core could not bind `listen` (checked). The core does not say, so this tries to bind it. Always returns
 * false. */
bool listen_explain(const char *listen, struct err *err);
/* `listen` (checked) with `port` as its port, to be freed. */
char *listen_address(const char *listen, int port);

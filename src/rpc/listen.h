/* SPDX-License-Identifier: Apache-2.0 */
/* Listen addresses, HOST:PORT. Any thread. */
#pragma once

#include "base/err.h"
#include <stdbool.h>

/* Whether it is HOST:PORT. The core would take a lone host, and a port of its own choice. */
bool listen_check(const char *listen, struct err *err);
/* Why the core could not bind `listen` (checked): it does not say, so this tries by itself. Always returns false. */
bool listen_explain(const char *listen, struct err *err);
/* `listen` (checked) with the port that was bound; malloc'ed. */
char *listen_address(const char *listen, int port);

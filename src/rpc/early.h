/* SPDX-License-Identifier: Apache-2.0 */
/* Refuses calls before the core reads them, by struct rpc_early of the server's options. */
#pragma once

#include "rpc/server.h"

/* After the port is bound, before clients are let in. */
void early_start(struct rpc_server *server, int port);
/* Calls go to the core from now on. */
void early_stop(int port);

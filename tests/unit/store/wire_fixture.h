/* SPDX-License-Identifier: Apache-2.0 */
/* Set-up and tear-down for tests that use one arena and one connection to the wire. */
#pragma once

#include "wire.h"

extern struct arena arena;
extern struct wire *wire;
extern struct pg *pg; /* a connection to `wire` */

/* For TestSuite's .init and .fini. */
void wire_set_up(void);
void wire_tear_down(void);

/* SPDX-License-Identifier: Apache-2.0 */
/* The start's self-test of the edge. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* Whether the core calls the functions that the edge puts in place (edge/edge.h): accepts, reads and sends through them
 * and, `with_tls`, decrypts and encrypts. A server of the core's on a free loopback port and a client of the core's
 * connect for that, once in a process for each kind; it takes some milliseconds. After core_init. Any thread.
 *
 * False: a function is not in force, and *err names it. True also in a build without the edge, and where the test has no
 * verdict, since client and server could not meet (no loopback, a TLS policy that refuses the test's certificate):
 * rpc_untested_edge() says so then. */
bool self_test(bool with_tls, struct err *err);

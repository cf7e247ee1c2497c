/* SPDX-License-Identifier: Apache-2.0 */
/* The self-test of the edge, which each server runs at its start. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* Tests that the core calls the functions that the edge puts in place (edge/edge.h): for accepting, reading, sending
 * and, `with_tls`, decrypting and encrypting. A server and a client of the core connect on a free loopback port for
 * that, once in a process for each kind. It takes some milliseconds. After core_init. Any thread.
 *
 * False: the core does not call a function, which *err names. True also in a build without the edge, and where the test
 * has no result because client and server could not connect (no loopback, a TLS policy that refuses the test's
 * certificate). self_test_had_no_result() then says so. */
bool self_test(bool with_tls, struct err *err);
bool self_test_had_no_result(void);

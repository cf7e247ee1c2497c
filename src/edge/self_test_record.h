/* SPDX-License-Identifier: Apache-2.0 */
/* Notes which replaced functions were called for the connections of a self-test. Any thread. */
#pragma once

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "edge/function.h"

/* The port under test; 0: no test runs, which is nearly always. */
extern atomic_int self_test_port;

static inline bool self_test_is_running(void) {
    return atomic_load_explicit(&self_test_port, memory_order_acquire) != 0;
}

/* Whether the session is one of the test's server. */
bool self_test_has(const SSL *ssl);
void self_test_record(enum edge_function function);
/* As the functions of edge.h. */
void self_test_begin(int port, const char *name);
bool self_test_called(enum edge_function function);
void self_test_end(void);

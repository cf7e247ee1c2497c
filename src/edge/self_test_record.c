/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a self-test: one for the process. Any thread. */
#include "edge/self_test_record.h"

atomic_int self_test_port;
static atomic_bool called[EDGE_FUNCTIONS];

void self_test_record(enum edge_function function) {
    atomic_store_explicit(&called[function], true, memory_order_relaxed);
}

void self_test_begin(int port) {
    for (int i = 0; i < EDGE_FUNCTIONS; i++)
        atomic_store(&called[i], false);
    atomic_store(&self_test_port, port);
}

bool self_test_called(enum edge_function function) {
    return atomic_load(&called[function]);
}

void self_test_end(void) {
    atomic_store(&self_test_port, 0);
}

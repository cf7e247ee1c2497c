/* SPDX-License-Identifier: Apache-2.0 */
/* Counts what a program and the libraries it uses allocate. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct allocations {
    int64_t own; /* asked for by this program's own code, static libraries included */
    int64_t all;
};

/* From now on; the program was not counted before. */
void allocations_count(void);
struct allocations allocations_so_far(void);

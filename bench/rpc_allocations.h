/* SPDX-License-Identifier: Apache-2.0 */
/* Counts the allocations of a program and of its libraries. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct allocations {
    int64_t own; /* made by the program's own code, including static libraries */
    int64_t all;
};

/* Starts counting. */
void allocations_count(void);
struct allocations allocations_so_far(void);

/* SPDX-License-Identifier: Apache-2.0 */
/* Whole numbers as keys: for hash tables, qsort and bsearch. Pure; any thread. */
#pragma once

#include <stdint.h>

/* Returns a hash of the number that mixes all bits. */
uint64_t hash_int64(int64_t value);
/* Compares two int64_t for qsort and bsearch, ascending. */
int compare_int64(const void *a, const void *b);

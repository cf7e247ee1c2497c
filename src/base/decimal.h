/* SPDX-License-Identifier: Apache-2.0 */
/* Writes numbers in decimal, much faster than printf. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DECIMAL_MAX 20 /* the greatest length of an int64_t in bytes, with its sign */

/* Writes the number without a NUL. Returns its length in bytes. */
size_t decimal_write(int64_t value, char text[static DECIMAL_MAX]);

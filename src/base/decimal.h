/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in decimal, where printf would be most of the work. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DECIMAL_MAX 20 /* bytes of an int64_t in decimal, with its sign */

/* Without a NUL; returns how many bytes. */
size_t decimal_write(int64_t value, char text[static DECIMAL_MAX]);

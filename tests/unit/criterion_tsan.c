/* SPDX-License-Identifier: Apache-2.0 */
/* Lets Criterion start under ThreadSanitizer; linked into the tests of that build only.
 *
 * Criterion maps the memory that it shares with its test processes at a random fixed address, which it draws with
 * rand_r(): 0x200000000000 + r * 2^24, three tries. ThreadSanitizer allows a program only a few ranges, so nearly every
 * run ended with "Could not initialize inheritable arena" (Criterion issue 274). This rand_r(), which the linker
 * prefers to the C library's, draws from 0x550000000000 to 0x555000000000. This range is allowed, and it lies below the
 * addresses of position-independent executables. */
#include <stdlib.h>

int rand_r(unsigned int *seed) {
    *seed = *seed * 1103515245u + 12345u;
    return (int)(0x350000u + (*seed >> 12) % 0x5000u);
}

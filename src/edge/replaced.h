/* SPDX-License-Identifier: Apache-2.0 */
/* The linker takes a file from a static library only for a symbol that is still undefined. libc and OpenSSL define the
 * symbols of replaced.c, too, so edge_init calls replaced_link to pull the file in. */
#pragma once

/* Does nothing. A call of it makes the linker keep replaced.c. */
void replaced_link(void);

/* SPDX-License-Identifier: Apache-2.0 */
/* The replaced functions have the names of others, so nothing refers to their file. */
#pragma once

/* Does nothing. A program that calls it is linked with the replaced functions. */
void replaced_link(void);

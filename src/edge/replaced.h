/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing refers to replaced.c by a name that only this file has, so a linker would leave it out. */
#pragma once

/* Does nothing. A call of it makes the linker keep replaced.c. */
void replaced_link(void);

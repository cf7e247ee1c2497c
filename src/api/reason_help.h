/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the table of reasons (model/reason.h). */
#pragma once

#include <stdio.h>

/* Prints the page docs/reference/reasons.md. */
void reason_help_markdown(FILE *out);

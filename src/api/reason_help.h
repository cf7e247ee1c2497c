/* SPDX-License-Identifier: Apache-2.0 */
/* The table of reasons (model/reason.h) for people. */
#pragma once

#include <stdio.h>

/* Writes docs/reference/reasons.md. */
void reason_help_markdown(FILE *out);

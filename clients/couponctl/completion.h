/* SPDX-License-Identifier: Apache-2.0 */
/* Completion scripts on stdout, which shells read to complete the command line of couponctl. */
#pragma once

#include "args.h"

void completion_print_bash(const struct verb *verbs, size_t n);
void completion_print_zsh(const struct verb *verbs, size_t n);
void completion_print_fish(const struct verb *verbs, size_t n);

/* SPDX-License-Identifier: Apache-2.0 */
/* For config.c: checks the settings of TLS and roles together. */
#pragma once

#include "config/config.h"

/* Refuses settings that would allow strangers to eavesdrop, or to act as somebody else. */
bool config_check_access(const struct config *config, struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* Where a channel connects to: what its user wrote, as the core's URIs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct target {
    char **uris; /* one for each address of a list HOST:PORT,…; otherwise one */
    size_t n;
    char *name;    /* of a list: the host of its first address, without a port; else NULL */
    bool is_local; /* all addresses are loopback or Unix sockets */
};

/* `text`: HOST:PORT, several of them separated by commas, or any gRPC target. Looks nothing up: the core does, when it
 * connects. */
bool target_init(const char *text, struct target *ret_target, struct err *err);
void target_deinit(struct target *target);

/* SPDX-License-Identifier: Apache-2.0 */
/* Where a channel connects to: what its user wrote, as the core's URI. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct target {
    char *uri;
    char *name;    /* of a list: the host of its first address, without a port; else NULL */
    bool is_local; /* all addresses are loopback or Unix sockets */
};

/* `text`: HOST:PORT, several of them separated by commas, or any gRPC target. Names in a list are looked up here, which
 * blocks; the core looks a single name up itself, each time when it has lost its connections. */
bool target_init(const char *text, struct target *ret_target, struct err *err);
void target_deinit(struct target *target);

/* SPDX-License-Identifier: Apache-2.0 */
/* How this program was built: with or without the edge, and with which gRPC. */
#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "edge/edge.h"
#include "rpc/server.h"

/* The cores that the bridge and the edge were tested with, as grpc_version_string() names them. The core has version
 * numbers of its own. */
static const struct core {
    const char *version, *release;
} tested[] = {
    {"29.0.0", "1.51.1"}, /* Debian 12 and 13 */
};

const char *rpc_missing_edge(void) {
    return edge_is_present() ? NULL : "limits on connections, cutting off abuse, fair reading, corking";
}

const char *rpc_untested_core(void) {
    for (size_t i = 0; i < sizeof tested / sizeof tested[0]; i++)
        if (strcmp(grpc_version_string(), tested[i].version) == 0)
            return NULL;
    return "the bridge and its edge depend on how gRPC's core reads, accepts and stops, and were tested with gRPC "
           "1.51.1 alone: run the tests (./dev test) with this version";
}

const char *rpc_core_version(void) {
    return grpc_version_string();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator should know of this program: the gRPC that it uses, and whether it has an edge that is in force. */
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "edge/edge.h"
#include "rpc/self_test.h"
#include "rpc/server.h"

/* The cores that the bridge and the edge were tested with, as grpc_version_string() names them. The core has version
 * numbers of its own. */
static const struct core {
    const char *version, *release;
} tested[] = {
    {"29.0.0", "1.51.1"}, /* Debian 12 and 13 */
};

#define N_TESTED (sizeof tested / sizeof tested[0])

static char untested[300]; /* the warning; write_untested fills it once */

static void write_untested(void) {
    char releases[80] = "";
    size_t used = 0;
    for (size_t i = 0; i < N_TESTED && used < sizeof releases; i++)
        used +=
            (size_t)snprintf(releases + used, sizeof releases - used, "%s%s", i == 0 ? "" : ", ", tested[i].release);
    snprintf(untested, sizeof untested,
             "the bridge and its edge depend on how gRPC's core reads, accepts and stops, and were tested with gRPC %s "
             "alone: run the tests (./dev test) with this version",
             releases);
}

const char *rpc_missing_edge(void) {
    return edge_is_present() ? NULL : "limits on connections, cutting off abuse, fair reading, corking";
}

const char *rpc_untested_core(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    for (size_t i = 0; i < N_TESTED; i++)
        if (strcmp(grpc_version_string(), tested[i].version) == 0)
            return NULL;
    pthread_once(&once, write_untested);
    return untested;
}

const char *rpc_untested_edge(void) {
    return self_test_had_no_result()
               ? "the self-test of the edge could not connect on loopback, so it is not known whether gRPC's core "
                 "calls the edge's functions"
               : NULL;
}

const char *rpc_core_version(void) {
    return grpc_version_string();
}

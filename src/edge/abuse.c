/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/abuse.h"

const char *edge_abuse_name(enum edge_abuse abuse) {
    static const char *const names[EDGE_ABUSES] = {
        [EDGE_ABUSE_NONE] = "none",         [EDGE_ABUSE_HEADERS] = "endless_headers",
        [EDGE_ABUSE_STREAMS] = "streams",   [EDGE_ABUSE_RESETS] = "resets",
        [EDGE_ABUSE_PINGS] = "pings",       [EDGE_ABUSE_SETTINGS] = "settings",
        [EDGE_ABUSE_USELESS] = "useless",   [EDGE_ABUSE_MESSAGES] = "messages",
        [EDGE_ABUSE_OFFENDER] = "offender", [EDGE_ABUSE_CONNECTS] = "connects",
    };
    return names[abuse];
}
